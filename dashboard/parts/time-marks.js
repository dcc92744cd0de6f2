// The labels of the time bar, and its folded stretches.

import { fill, h } from "../core/dom.js"
import { compact, duration, number, time } from "../core/format.js"

export function drawMarks(root, scale, head) {
  const percent = (share) => `${(share * 100).toFixed(3)}%`
  const folds = scale.folds.map((fold) =>
    h("span", {
      class: "fold",
      style: { left: percent(fold.from), width: percent(fold.to - fold.from) },
      title: `${duration(fold.gap)} without an event, folded`,
    }),
  )
  const ticks = [0, 0.2, 0.4, 0.6, 0.8, 1].map((share, index) =>
    h(
      "span",
      {
        class: ["tick", share === 1 && "is-last", index % 5 && "is-middle"],
        style: { left: percent(share) },
      },
      share === 1
        ? `now, ${number(head)}`
        : scale.byTime
          ? time(scale.timeAt(share))
          : compact(scale.positionAt(share)),
    ),
  )
  fill(root, ticks, folds)
}
