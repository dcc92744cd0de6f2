// Elements without markup: texts become text nodes, so nothing that the ledger holds is read as HTML.

const svgNamespace = "http://www.w3.org/2000/svg"
const svgTags = new Set("svg g path rect line circle text defs pattern polyline polygon title use marker".split(" "))

function isContent(child) {
  return child !== null && child !== undefined && child !== false && child !== true
}

/** Appends nodes, texts and arrays of them. `null`, `undefined` and booleans add nothing. */
export function append(node, ...children) {
  for (const child of children.flat(Infinity)) {
    if (isContent(child)) node.append(child instanceof Node ? child : document.createTextNode(String(child)))
  }
  return node
}

/** Sets what `h` takes: `class`, `on…` handlers, `data-*`, `aria-*` and other attributes, and properties. */
export function set(node, props) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (name.startsWith("on")) {
      if (value) node.addEventListener(name.slice(2).toLowerCase(), value)
    } else if (name === "class") {
      node.setAttribute("class", Array.isArray(value) ? value.filter(Boolean).join(" ") : value || "")
    } else if (name === "style") {
      // The page's policy forbids style attributes, not the properties of the object.
      for (const [key, part] of Object.entries(value)) node.style.setProperty(key, part)
    } else if (!name.includes("-") && name !== "role" && name in node && !(node instanceof SVGElement)) {
      node[name] = value ?? ""
    } else if (value === null || value === undefined || (value === false && !name.startsWith("aria-"))) {
      node.removeAttribute(name)
    } else {
      node.setAttribute(name, value === true && !name.startsWith("aria-") ? "" : String(value))
    }
  }
  return node
}

/** An element: `h("a", {href: "/jobs", class: "link"}, "Jobs")`. `style` is an object. */
export function h(tag, props, ...children) {
  // `title` is a child of an SVG only where it is asked for as `svg:title`.
  const isSvg = tag.startsWith("svg:") || (tag !== "title" && svgTags.has(tag))
  const node = isSvg ? document.createElementNS(svgNamespace, tag.replace("svg:", "")) : document.createElement(tag)
  return append(set(node, props), ...children)
}

/** Replaces the children of a node. */
export function fill(node, ...children) {
  node.replaceChildren()
  return append(node, ...children)
}

/** Sets the text of a node if it differs, so that an unchanged row costs no layout. */
export function setText(node, text) {
  const wanted = String(text ?? "")
  if (node.firstChild?.nodeType === Node.TEXT_NODE && !node.firstChild.nextSibling) {
    if (node.firstChild.data !== wanted) node.firstChild.data = wanted
  } else if (node.textContent !== wanted || node.firstChild) {
    node.textContent = wanted
  }
  return node
}

/** A stylesheet of a view, loaded once. Resolves when it applies. */
export function stylesheet(name) {
  const href = `/dashboard/style/${name}.css`
  const present = document.querySelector(`link[href="${href}"]`)
  if (present) return Promise.resolve()
  return new Promise((resolve) => {
    document.head.append(h("link", { rel: "stylesheet", href, onload: resolve, onerror: resolve }))
  })
}
