// <job-progress job="…" [ledger="https://…"] [token="jl_…"]>: the live progress of a job, in any page
// that may use the service. One module without imports; it has its own style and no other effect.
//
//     <script type="module" src="https://ledger.example/dashboard/embed.js"></script>
//     <job-progress job="backtest-7"></job-progress>
//
// Without `ledger` it asks the service that this module came from. In pages of another origin the
// service must allow that origin, and the token, of the scope `read`, is seen by whoever sees the page.

const home = new URL(import.meta.url).origin
const firstWait = 1000
const longestWait = 30_000

const style = new CSSStyleSheet()
style.replaceSync(`
  :host {
    display: block; min-width: 0; font: 13px/1.4 system-ui, sans-serif; color: CanvasText; color-scheme: light dark;
  }
  :host([hidden]) { display: none; }
  .line { display: flex; gap: 10px; align-items: baseline; }
  .name {
    min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; unicode-bidi: isolate;
    font-weight: 600;
  }
  .state { margin-left: auto; white-space: nowrap; opacity: 0.8; font-variant-numeric: tabular-nums; }
  .track {
    height: 8px; margin-top: 4px; border-radius: 4px; overflow: hidden;
    background: color-mix(in srgb, CanvasText 12%, transparent);
  }
  .bar {
    height: 100%; width: 100%; transform-origin: left; transform: scaleX(0);
    background: var(--job-progress-color, #3b74e0);
  }
  .note { margin-top: 3px; overflow-wrap: anywhere; opacity: 0.8; }
  .note:empty { display: none; }
  [data-state="finished"] .bar { background: var(--job-progress-finished, #3f9a58); }
  [data-state="failed"] .bar { background: repeating-linear-gradient(45deg, #cf4650 0 6px, #a8323b 6px 12px); }
  [data-state="unknown"] .bar { transform: scaleX(0.25); animation: walk 1.6s ease-in-out infinite alternate; }
  @keyframes walk { to { transform: translateX(300%) scaleX(0.25); } }
  @media (prefers-reduced-motion: reduce) {
    [data-state="unknown"] .bar { animation: none; transform: scaleX(1); opacity: 0.4; }
  }
  @media (prefers-reduced-motion: no-preference) { .bar { transition: transform 0.4s linear; } }
  @media (forced-colors: active) { .bar { background: Highlight; forced-color-adjust: none; } }
`)

const element = (tag, name) => Object.assign(document.createElement(tag), { className: name })

class JobProgress extends HTMLElement {
  static observedAttributes = ["job", "ledger", "token"]

  #box = element("div", "box")
  #name = element("span", "name")
  #state = element("span", "state")
  #track = element("div", "track")
  #bar = element("div", "bar")
  #note = element("div", "note")
  #source = null
  #timer = null
  #wait = firstWait
  #place = null
  #job = null
  #frame = null
  #left = null
  #isOver = false

  constructor() {
    super()
    const root = this.attachShadow({ mode: "open" })
    root.adoptedStyleSheets = [style]
    this.#track.setAttribute("role", "progressbar")
    this.#track.setAttribute("aria-valuemin", "0")
    this.#track.append(this.#bar)
    const line = element("div", "line")
    line.append(this.#name, this.#state)
    this.#box.append(line, this.#track, this.#note)
    root.append(this.#box)
  }

  connectedCallback() {
    // A page in the browser's back/forward cache would keep its connection.
    this.#left = new AbortController()
    const { signal } = this.#left
    addEventListener("pagehide", () => this.#stop(), { signal })
    addEventListener("pageshow", event => event.persisted && !this.#isOver && this.#open(), { signal })
    this.#restart()
  }

  disconnectedCallback() {
    this.#left.abort()
    this.#stop()
  }

  attributeChangedCallback(_name, before, after) {
    if (this.isConnected && before !== after) this.#restart()
  }

  #restart() {
    this.#stop()
    this.#place = null
    this.#isOver = false
    this.#wait = firstWait
    this.#job = {
      name: this.getAttribute("job") ?? "",
      status: "waiting",
      completed: 0,
      total: 0,
      truncated: false,
      note: "",
    }
    this.#draw()
    if (this.#job.name) this.#open()
    else this.#say("Which job? The attribute “job” is missing.")
  }

  #stop() {
    this.#source?.close()
    this.#source = null
    clearTimeout(this.#timer)
    cancelAnimationFrame(this.#frame)
    this.#frame = null
  }

  #address() {
    const url = new URL(
      `/v1/jobs/${encodeURIComponent(this.getAttribute("job"))}/events`,
      this.getAttribute("ledger") || home,
    )
    url.searchParams.set("conflate", "4")
    if (this.#place !== null) url.searchParams.set("last_event_id", this.#place)
    const token = this.getAttribute("token")
    if (token) url.searchParams.set("access_token", token)
    return url
  }

  #open() {
    let url
    try {
      url = this.#address()
    } catch {
      return this.#say("The attribute “ledger” is not an address.")
    }
    const source = new EventSource(url, { withCredentials: url.origin === location.origin })
    this.#source = source
    source.onopen = () => {
      this.#wait = firstWait
      this.#say("")
    }
    source.onmessage = message => this.#receive(message)
    // The ledger has lost events that this element had: it begins anew.
    source.addEventListener("diverged", () => source === this.#source && this.#restart())
    source.onerror = () => source === this.#source && this.#failed(source)
  }

  /** A browser comes back by itself after a broken connection, but not after an answer such as 503. */
  #failed(source) {
    if (source.readyState !== EventSource.CLOSED) return this.#say("The ledger is away; trying again.")
    source.close()
    this.#source = null
    this.#say("The ledger does not answer, or refuses; trying again.")
    this.#timer = setTimeout(() => this.#open(), this.#wait * (0.75 + Math.random() / 2))
    this.#wait = Math.min(2 * this.#wait, longestWait)
  }

  #receive(message) {
    this.#place = message.lastEventId || this.#place
    if (!message.data) return
    let event
    try {
      event = JSON.parse(message.data)
    } catch {
      return
    }
    const job = this.#job
    const data = event.data ?? {}
    const type = String(event.type ?? "").replace(/^io\.jobledger\.job\./, "")
    job.total = event.total ?? job.total
    if (type === "queued")
      Object.assign(job, { status: "queued", name: typeof data.name === "string" ? data.name : job.name })
    if (type === "progress")
      Object.assign(job, {
        status: "running",
        completed: Math.max(job.completed, data.completed ?? 0),
        note: typeof data.message === "string" ? data.message : "",
      })
    if (type === "truncated") job.truncated = true
    if (type === "finished") {
      Object.assign(job, { status: "finished", note: "" })
      if (!job.truncated && job.total > 0) job.completed = Math.max(job.total, job.completed)
    }
    if (type === "failed")
      Object.assign(job, { status: "failed", note: typeof data.error === "string" ? data.error.slice(0, 300) : "" })
    // The total is never below what was completed, as in the ledger's own table.
    if (job.total > 0) job.total = Math.max(job.total, job.completed)
    this.#schedule()
    if (type === "finished" || type === "failed") {
      this.#isOver = true
      this.#source?.close()
      this.#source = null
      this.dispatchEvent(new CustomEvent("ended", { detail: { status: type }, bubbles: true }))
    }
  }

  #schedule() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null
      this.#draw()
    })
  }

  #say(text) {
    if (this.#job) this.#job.trouble = text
    this.#schedule()
  }

  /** Everything that the ledger says becomes text nodes, never markup. */
  #draw() {
    const { name, status, completed, total, truncated, note, trouble } = this.#job
    const count = number => Number(number).toLocaleString()
    const done = total > 0 ? `${count(completed)} of ${count(total)}` : `${count(completed)} done`
    const isOver = status === "finished" || status === "failed"
    this.#box.dataset.state = status === "running" && !(total > 0) ? "unknown" : status
    this.#name.textContent = name
    this.#name.title = name
    this.#state.textContent =
      (status === "running" ? done : isOver ? `${status}, ${done}` : status) + (truncated ? ", truncated" : "")
    this.#note.textContent = trouble || note || ""
    const share = total > 0 ? Math.min(1, completed / total) : status === "finished" ? 1 : 0
    if (total > 0 || isOver || status !== "running") this.#bar.style.transform = `scaleX(${share})`
    else this.#bar.style.removeProperty("transform")
    const track = this.#track
    track.setAttribute("aria-label", `Progress of ${name}`)
    track.setAttribute("aria-valuetext", `${status}, ${done}${truncated ? ", truncated" : ""}`)
    if (total > 0) {
      track.setAttribute("aria-valuemax", String(total))
      track.setAttribute("aria-valuenow", String(completed))
    } else {
      track.removeAttribute("aria-valuenow")
    }
  }
}

if (!customElements.get("job-progress")) customElements.define("job-progress", JobProgress)
