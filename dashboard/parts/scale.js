// Scales of charts: round steps of axes, and the colours of heat maps.

/** About `count` round numbers from `least` to `most`. */
export function ticks(least, most, count = 5) {
  if (!(most > least)) return [least]
  const rough = (most - least) / count
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map(factor => factor * power).find(size => size >= rough) ?? 10 * power
  const values = []
  for (let index = Math.ceil(least / step - 1e-9); index * step <= most + step * 1e-9; index++) {
    // Without the noise of binary fractions: 0.30000000000000004.
    values.push(Number((index * step).toPrecision(12)))
  }
  return values
}

const timeSteps = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 10e3, 15e3, 30e3, 60e3, 120e3, 300e3, 600e3, 900e3, 1800e3, 3600e3,
  7200e3, 10800e3, 21600e3, 43200e3, 86400e3, 172800e3, 604800e3, 1209600e3, 2592000e3, 7776000e3, 31536000e3,
]

/** About `count` round times, in milliseconds, in the browser's time zone. */
export function timeTicks(start, end, count = 5) {
  if (!(end > start)) return { values: [start], step: 1 }
  const step = timeSteps.find(size => size >= (end - start) / count) ?? timeSteps.at(-1)
  const zone = new Date(start).getTimezoneOffset() * 60_000
  const values = []
  for (let time = Math.ceil((start - zone) / step) * step + zone; time <= end; time += step) values.push(time)
  return { values, step }
}

/** A time on an axis, as short as the step allows. */
export function tickTime(time, step) {
  const date = new Date(time)
  const two = value => String(value).padStart(2, "0")
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}`
  if (step < 1000) return `${clock}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`
  if (step < 60_000) return `${clock}:${two(date.getSeconds())}`
  if (step < 86_400_000) return clock
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
}

// Viridis at nine places: its lightness grows evenly, so it can be read without seeing colours, and
// in both themes.
const stops = [
  [68, 1, 84],
  [71, 44, 122],
  [59, 81, 139],
  [44, 113, 142],
  [33, 144, 141],
  [39, 173, 129],
  [92, 200, 99],
  [170, 220, 50],
  [253, 231, 37],
]

/** The colour at a place from 0 to 1, as `[red, green, blue]`. */
export function colourAt(place) {
  const scaled = Math.max(0, Math.min(1, place)) * (stops.length - 1)
  const index = Math.min(stops.length - 2, Math.floor(scaled))
  return stops[index].map((from, part) => Math.round(from + (stops[index + 1][part] - from) * (scaled - index)))
}

export function css([red, green, blue]) {
  return `rgb(${red} ${green} ${blue})`
}

/** Black or white, whichever can be read on a colour. */
export function inkOn([red, green, blue]) {
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "#000" : "#fff"
}
