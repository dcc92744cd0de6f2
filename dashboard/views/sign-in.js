// Getting in: a token becomes a session. The token is in the page only until it has been sent.

import { request } from "../core/api.js"
import { fill, h } from "../core/dom.js"

/** Shows the form in `root`; calls `done` with the session. */
export function signIn(root, { reason, done }) {
  document.title = "Sign in · JobLedger"
  const message = h("div", { role: "alert" })
  const input = h("input", {
    id: "token",
    type: "password",
    name: "token",
    required: true,
    autocomplete: "off",
    spellcheck: false,
    placeholder: "jl_…",
    "aria-describedby": "token-help",
  })
  const button = h("button", { class: "primary", type: "submit" }, "Sign in")
  const say = (text) => fill(message, text && h("div", { class: "error" }, h("div", {}, text)))
  const submit = async (event) => {
    event.preventDefault()
    button.disabled = true
    say(null)
    try {
      const response = await request("/v1/session", {
        method: "POST",
        quiet: true,
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ token: input.value.trim() }),
      })
      input.value = ""
      done(await response.json())
    } catch (error) {
      say(
        error.status === 401
          ? "That token does not work. It may be mistyped, revoked or too old."
          : (error.detail ?? String(error)),
      )
      input.focus()
      input.select()
    }
    button.disabled = false
  }
  fill(
    root,
    h(
      "main",
      { class: "sign-in panel" },
      h("header", {}, h("h1", {}, "JobLedger"), h("p", { class: "muted" }, "Sign in to look at this ledger.")),
      reason && h("div", { class: "warning", role: "status" }, h("div", {}, codes(reason))),
      message,
      h(
        "form",
        { onsubmit: submit },
        h("label", { class: "field" }, h("span", {}, "Token"), input),
        h(
          "p",
          { id: "token-help", class: "small muted" },
          codes(
            "A token with the scope `read`, as `jobledger token create --scope read` prints it. " +
              "On the ledger's machine `jobledger dashboard` prints an address that signs in by itself.",
          ),
        ),
        button,
      ),
    ),
  )
  input.focus()
}

/** Text with `code` in it. */
function codes(text) {
  return text.split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part))
}
