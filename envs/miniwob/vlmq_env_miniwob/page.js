// The page's side of the driver: starts an episode, and reports what an onlooker of the task area can see.
(() => {
  if (window !== window.top) return;
  const WIDTH = 160, HEIGHT = 210;         // the task area, at the top left of the window
  const MAX_TIME_MS = 1e9;                 // setTimeout overflows at 2^31 and would fire at once
  const MAX_NAME = 60;
  const NATIVE = "button, a, input, select, textarea";
  const ROLES = ["button", "link", "checkbox", "radio", "textbox", "combobox", "searchbox", "slider", "spinbutton", "switch",
    "tab", "option", "menuitem", "menuitemcheckbox", "menuitemradio", "treeitem"];
  const INTERACTIVE = [NATIVE, "[onclick]", "[contenteditable]", "[tabindex]:not([tabindex='-1'])",
    ...ROLES.map((role) => `[role=${role}]`)].join(", ");
  const INPUT_ROLES = {
    button: "button", submit: "button", reset: "button", image: "button", checkbox: "checkbox",
    radio: "radio", range: "slider", number: "spinbutton", search: "searchbox",
  };
  const TAG_ROLES = { BUTTON: "button", A: "link", SELECT: "combobox", TEXTAREA: "textbox" };

  const CLICKS = ["click", "dblclick"], PRESSES = ["mousedown", "mouseup", "pointerdown"];
  const EDITABLE = ["", "date", "email", "month", "number", "password", "search", "tel", "text", "time", "url", "week"];
  const MAX_OPTIONS = 12;

  let keys = new Map();                    // element -> number, in order of first sight in this episode
  let byKey = [];

  // Elements that wait for a click without looking like it: what the page's scripts listen on.
  const clicked = new WeakSet(), pressed = new WeakSet();
  const listen = EventTarget.prototype.addEventListener;
  EventTarget.prototype.addEventListener = function (type, ...rest) {
    if (this instanceof Element && CLICKS.includes(type)) clicked.add(this);
    if (this instanceof Element && PRESSES.includes(type)) pressed.add(this);
    return listen.call(this, type, ...rest);
  };

  const waitsForClicks = (element) => clicked.has(element) || !!element.onclick;
  const isInteractive = (element) => element.matches(INTERACTIVE) || waitsForClicks(element) || pressed.has(element);

  function closestInteractive(element) {
    while (element && element !== document.body && !isInteractive(element)) element = element.parentElement;
    return element === document.body ? null : element;
  }

  function roleOf(element) {
    const declared = element.getAttribute("role");
    if (declared && ROLES.includes(declared.trim().toLowerCase())) return declared.trim().toLowerCase();
    if (element.tagName === "INPUT") return INPUT_ROLES[element.type] || "textbox";
    if (element instanceof SVGElement) return element.tagName.toLowerCase();
    return TAG_ROLES[element.tagName] || "generic";
  }

  const isEditable = (element) => element.isContentEditable || element.tagName === "TEXTAREA"
    || (element.tagName === "INPUT" && EDITABLE.includes(element.getAttribute("type") || ""));

  const squeezed = (text) => text.replace(/\s+/g, " ").trim().slice(0, MAX_NAME);

  // What is to be seen of an element beside its name: what it holds, whether it is chosen, its colour.
  function stateOf(element) {
    if (element.type === "checkbox" || element.type === "radio") return element.checked ? ["checked"] : [];
    if (element.tagName === "SELECT") {
      const options = Array.from(element.options, (option) => squeezed(option.textContent));
      const chosen = Array.from(element.selectedOptions, (option) => squeezed(option.textContent));
      const more = options.length > MAX_OPTIONS ? [`and ${options.length - MAX_OPTIONS} more`] : [];
      return [`chosen ${JSON.stringify(chosen)}`, `of ${JSON.stringify(options.slice(0, MAX_OPTIONS))}`, ...more];
    }
    if (isEditable(element) || element.type === "range") {
      const held = element.isContentEditable ? element.innerText : element.value;
      const lines = element.tagName === "TEXTAREA" ? ["multiline"] : [];
      return held ? [...lines, `value ${JSON.stringify(squeezed(held))}`] : lines;
    }
    if (element instanceof SVGElement) return element.getAttribute("fill") ? [`fill ${element.getAttribute("fill")}`] : [];
    return [];
  }

  function nameOf(element) {
    const labels = element.labels ? Array.from(element.labels, (label) => label.textContent).join(" ") : "";
    const value = INPUT_ROLES[element.type] === "button" ? element.value : "";
    const content = ["INPUT", "SELECT", "TEXTAREA"].includes(element.tagName) ? "" : element.textContent;
    const name = element.getAttribute("aria-label") || labels || value || content
      || element.getAttribute("placeholder") || element.getAttribute("title") || element.getAttribute("alt")
      || (element.matches(NATIVE) ? "" : element.getAttribute("class")) || "";
    return squeezed(name);
  }

  // A point where a real mouse would hit this element and not one that covers it: the nearest to the centre.
  function uncoveredPoint(element) {
    for (const rect of element.getClientRects()) {
      const left = Math.max(0, Math.ceil(rect.left)), right = Math.min(WIDTH, rect.right);
      const top = Math.max(0, Math.ceil(rect.top)), bottom = Math.min(HEIGHT, rect.bottom);
      if (right - left < 1 || bottom - top < 1) continue;
      const centreX = Math.floor((left + right) / 2), centreY = Math.floor((top + bottom) / 2);
      const hit = (x, y) => {
        const seen = document.elementFromPoint(x, y);
        return seen !== null && closestInteractive(seen) === element;
      };
      if (hit(centreX, centreY)) return [centreX, centreY];
      // A coarse grid finds most; pixel by pixel finds the thin rim that a neighbour leaves free.
      for (const step of [Math.max(2, Math.floor(Math.min(right - left, bottom - top) / 8)), 1]) {
        let best = null, bestDistance = Infinity;
        for (let y = top; y < bottom; y += step) {
          for (let x = left; x < right; x += step) {
            const distance = (x - centreX) ** 2 + (y - centreY) ** 2;
            if (distance < bestDistance && hit(x, y)) { best = [x, y]; bestDistance = distance; }
          }
        }
        if (best) return best;
      }
    }
    return null;
  }

  function visibleElements() {
    const found = [];
    if (WOB_DONE_GLOBAL) return found;     // the page has put its START cover over everything
    for (const element of document.body.querySelectorAll("*")) {
      if (!isInteractive(element) || element.disabled || element.closest("#reward-display, #click-canvas")) continue;
      // What only surrounds other things to click, a window that can be dragged for instance, is no thing to click.
      const surrounds = !element.matches(NATIVE) && !waitsForClicks(element) && Array.from(element.querySelectorAll("*")).some(isInteractive);
      if (surrounds || (element.id === "wrap") || (element.id === "area" && element.children.length)) continue;
      const style = getComputedStyle(element);
      if (style.visibility !== "visible" || style.display === "none" || style.pointerEvents === "none") continue;
      const point = uncoveredPoint(element);
      if (point === null) continue;
      if (!keys.has(element)) { keys.set(element, byKey.length); byKey.push(element); }
      const box = element.getBoundingClientRect();
      found.push({
        key: keys.get(element), role: roleOf(element), name: nameOf(element), state: stateOf(element), point,
        box: [box.left, box.top, box.width, box.height],
      });
    }
    return found;
  }

  // Whether the episode is there, pictures included: what they show, and where things stand, depends on them.
  const ready = () => WOB_TASK_READY && Array.from(document.images).every((image) => image.complete);

  function visibleText() {
    const area = document.getElementById("area") || document.body;
    return WOB_DONE_GLOBAL ? "" : area.innerText || "";
  }

  function look() {
    return {
      utterance: core.getUtterance(), elements: visibleElements(), ready: ready(), text: visibleText(),
      done: WOB_DONE_GLOBAL, rawReward: WOB_DONE_GLOBAL ? Number(WOB_RAW_REWARD_GLOBAL) : 0,
      reward: WOB_DONE_GLOBAL ? Number(decays ? WOB_REWARD_GLOBAL : WOB_RAW_REWARD_GLOBAL) : 0,
    };
  }

  let ownTime = null;                      // the page's own limit in ms, after which it ends the episode
  let decays = false;

  function start(seed, decay) {
    if (!document.getElementById("vlmq-style")) {
      const style = document.createElement("style");
      style.id = "vlmq-style";
      // A blinking caret would make the picture depend on the clock.
      style.textContent = "* { caret-color: transparent !important }";
      document.head.appendChild(style);
    }
    if (ownTime === null) ownTime = core.EPISODE_MAX_TIME;
    decays = decay;
    core.EPISODE_MAX_TIME = decay ? ownTime : MAX_TIME_MS;
    core.endEpisode(0);
    if (document.activeElement) document.activeElement.blur();
    keys = new Map();
    byKey = [];
    Math.seedrandom(seed);
    core.startEpisodeReal();
    return look();
  }

  // Where to click the element that `look` reported under this key; null where it is gone or covered.
  function pointOf(key) {
    const element = byKey[key];
    return element && element.isConnected ? uncoveredPoint(element) : null;
  }

  const there = (key) => (byKey[key] && byKey[key].isConnected ? byKey[key] : null);

  // Put the caret into an element that holds text, all of it selected; false where it holds none.
  function select(key) {
    const element = there(key);
    if (!element || !isEditable(element) || element.readOnly) return false;
    element.focus();
    if (element.select) element.select();
    else getSelection().selectAllChildren(element);
    return true;
  }

  // Fields that are no free text, a date for instance, take a value as a whole.
  function setValue(key, text) {
    const element = there(key);
    if (element.isContentEditable || ["", "text", "password", "search", "tel", "url", "email"].includes(
      element.getAttribute("type") || "") ) return false;
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(element, text);
    for (const type of ["input", "change"]) element.dispatchEvent(new Event(type, { bubbles: true }));
    return true;
  }

  function focus(key) {
    const element = there(key);
    if (!element) return false;
    element.focus();
    return true;
  }

  // Choose options by their text or value; false where one is not offered, or several are asked of a list of one.
  function choose(key, wanted) {
    const element = there(key);
    if (!element || element.tagName !== "SELECT" || (wanted.length > 1 && !element.multiple)) return false;
    const named = (text) => Array.from(element.options).find((option) =>
      squeezed(option.textContent) === text || option.value === text);
    const chosen = wanted.map(named);
    if (chosen.some((option) => !option || option.disabled)) return false;
    element.focus();
    for (const option of element.options) option.selected = chosen.includes(option);
    for (const type of ["input", "change"]) element.dispatchEvent(new Event(type, { bubbles: true }));
    return true;
  }

  window.vlmqPage = { ready, start, look, pointOf, select, setValue, focus, choose };
})();
