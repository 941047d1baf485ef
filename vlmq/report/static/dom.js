// Elements from data: whatever text an episode holds becomes a text node, never HTML.
const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes, listeners (functions) and children: nodes, or anything else as text. */
function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function drawn(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** What an embedded element of JSON holds. */
function embedded(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

/** A number for people: its minus sign is one. */
function number(value, digits = 3, sign = false) {
  if (value === null || value === undefined) return "unknown";
  const text = Math.abs(value).toFixed(digits);
  const zero = Number(text) === 0;
  return (value < 0 && !zero ? "\u2212" : sign && !zero ? "+" : "") + text;
}

/** A number that has as many digits as it needs. */
function short(value) {
  if (value === null || value === undefined) return "unknown";
  const size = Math.abs(value);
  if (size >= 1e6 || (size > 0 && size < 1e-3)) return value.toExponential(1).replace("-", "\u2212");
  return (value < 0 ? "\u2212" : "") + String(Number(size.toPrecision(4)));
}

function percent(share, digits = 1) {
  return `${(100 * share).toFixed(digits)} %`;
}

function count(many, one) {
  return `${many.toLocaleString("en")} ${one}${many === 1 ? "" : "s"}`;
}

/** Buttons of which one is pressed. */
function choice(name, options, chosen, choose) {
  const group = element("div", { class: "group", role: "group", "aria-label": name });
  const press = (value) => {
    for (const button of group.children) button.setAttribute("aria-pressed", String(button.dataset.value === value));
  };
  for (const [value, text, title] of options) {
    group.append(
      element("button", { type: "button", "data-value": value, title, click: () => { press(value); choose(value); } }, text),
    );
  }
  group.press = press;
  press(chosen);
  return group;
}

function picked(name, options, choose) {
  const select = element("select", { class: "pick", "aria-label": name, change: () => choose(select.value) });
  for (const [value, text] of options) select.append(element("option", { value }, text));
  return select;
}

// One box beside the pointer, for tokens and for curves.
const tip = element("div", { class: "tip", role: "tooltip", hidden: true });

function showTip(content, box) {
  tip.replaceChildren(...content);
  tip.hidden = false;
  const size = tip.getBoundingClientRect();
  const left = Math.min(Math.max(8, box.left), innerWidth - size.width - 8);
  const below = box.bottom + 8;
  const fits = below + size.height < innerHeight || box.top - size.height - 8 < 0;
  tip.style.left = `${left}px`;
  tip.style.top = `${fits ? below : box.top - size.height - 8}px`;
}

function hideTip() {
  tip.hidden = true;
}

/** The picture of a number as an image that is decoded when it comes into view. */
function picture(which, kind, attributes) {
  const stored = (kind === "t" && document.getElementById(`t${which}`)) || document.getElementById(`p${which}`);
  const image = element("img", { ...attributes, decoding: "async", loading: "lazy" });
  image.addEventListener("load", () => image.classList.toggle("tiny", image.naturalWidth < 128));
  image.src = `data:image/png;base64,${stored.textContent}`;
  return image;
}

/** A switch between light and dark that is remembered where the browser lets a page do so. */
function themeSwitch() {
  const root = document.documentElement;
  try { root.dataset.theme = localStorage.getItem("vlmq-theme") || ""; } catch { /* no storage for this page */ }
  return element("button", { type: "button", class: "button", id: "theme", title: "light or dark (t)", click: () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("vlmq-theme", root.dataset.theme); } catch { /* as above */ }
  } }, "light / dark");
}
