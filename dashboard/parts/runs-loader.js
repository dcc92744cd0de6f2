// Reads the runs of a job: from the read model for now, and from the job's own events for the past.
import { get, segment } from "../core/api.js"
import { runsOfEvent } from "./runs-model.js"

const pageSize = 1000
/** More would fill the memory of the tab: the CSV has them all. */
const mostRuns = 100_000
/** More events are not folded in the page. */
const mostEvents = 5000

export class RunsLoader {
  /** `changed()` is called when there is more to show. */
  constructor(job, changed) {
    Object.assign(this, { job, changed })
    this.state = { runs: [], isLoading: true, version: 0 }
    this.turn = 0
  }

  #set(turn, state) {
    if (turn !== this.turn) return false
    this.state = { ...state, version: this.state.version + 1 }
    this.changed()
    return true
  }

  /** Stops what is being read. */
  cancel() {
    this.turn += 1
  }

  /** Reads all runs as they are now. Runs that are shown stay until the new ones are complete. */
  async now(signal) {
    const turn = ++this.turn
    const isFirst = this.state.runs.length === 0 || this.state.isPast
    const runs = []
    const retry = () => this.now(signal)
    try {
      let next = `/v1/jobs/${segment(this.job)}/runs?limit=${pageSize}`
      while (next && runs.length < mostRuns) {
        const { value } = await get(next, {}, { signal })
        runs.push(...value.runs)
        next = value.next
        if (next && isFirst && !this.#set(turn, { runs: [...runs], isLoading: true })) return
        if (turn !== this.turn) return
      }
      const note = next ? `The first ${runs.length.toLocaleString("en-US")} runs. The CSV has all of them.` : null
      this.#set(turn, { runs, isLoading: false, note })
    } catch (error) {
      if (!signal.aborted) this.#set(turn, { runs: isFirst ? [] : runs, isLoading: false, error, retry })
    }
  }

  /**
   * Makes the runs as they were when the job had `versions` events, from these events: a run that is
   * reported again has the values of the later report, as in the read model.
   */
  async past(versions, signal) {
    const turn = ++this.turn
    if (versions > mostEvents) {
      return this.#set(turn, {
        runs: [],
        isLoading: false,
        isPast: true,
        note:
          "The runs of a past moment are made from the job's events, and " +
          `${versions.toLocaleString("en-US")} are too many for this page.`,
      })
    }
    const found = new Map()
    try {
      let next = `/v1/jobs/${segment(this.job)}/events?after=0&limit=${pageSize}`
      reading: while (next && versions > 0) {
        const { value } = await get(next, {}, { signal })
        for (const event of value.events) {
          if (event.streamversion > versions) break reading
          const type = event.type.replace(/^io\.jobledger\.job\./, "")
          for (const run of runsOfEvent(type, event.data)) found.set(run.run_index, run)
        }
        next = value.next
        if (turn !== this.turn) return
      }
      const runs = [...found.values()].sort((a, b) => a.run_index - b.run_index)
      this.#set(turn, { runs, isLoading: false, isPast: true })
    } catch (error) {
      if (!signal.aborted)
        this.#set(turn, { runs: [], isLoading: false, isPast: true, error, retry: () => this.past(versions, signal) })
    }
  }
}
