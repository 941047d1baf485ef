// The page's side of the driver: starts an episode, and reports what an onlooker of the task area can see.
(() => {
  if (window !== window.top) return;
  const WIDTH = 160, HEIGHT = 210;         // the task area, at the top left of the window
  const MAX_TIME_MS = 1e9;                 // setTimeout overflows at 2^31 and would fire at once
  const MAX_NAME = 60;
  const INTERACTIVE = "button, a, input, select, textarea, [role], [onclick], [tabindex], [contenteditable]";
  const INPUT_ROLES = {
    button: "button", submit: "button", reset: "button", image: "button", checkbox: "checkbox",
    radio: "radio", range: "slider", number: "spinbutton", search: "searchbox",
  };
  const TAG_ROLES = { BUTTON: "button", A: "link", SELECT: "combobox", TEXTAREA: "textbox" };

  let keys = new Map();                    // element -> number, in order of first sight in this episode
  let byKey = [];

  function roleOf(element) {
    const declared = element.getAttribute("role");
    if (declared) return declared.trim().toLowerCase();
    if (element.tagName === "INPUT") return INPUT_ROLES[element.type] || "textbox";
    return TAG_ROLES[element.tagName] || "generic";
  }

  function nameOf(element) {
    const labels = element.labels ? Array.from(element.labels, (label) => label.textContent).join(" ") : "";
    const value = INPUT_ROLES[element.type] === "button" ? element.value : "";
    const content = ["INPUT", "SELECT", "TEXTAREA"].includes(element.tagName) ? "" : element.textContent;
    const name = element.getAttribute("aria-label") || labels || value || content
      || element.getAttribute("placeholder") || element.getAttribute("title") || "";
    return name.replace(/\s+/g, " ").trim().slice(0, MAX_NAME);
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
        return seen !== null && seen.closest(INTERACTIVE) === element;
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
    for (const element of document.body.querySelectorAll(INTERACTIVE)) {
      if (element.disabled || element.closest("#reward-display")) continue;
      const style = getComputedStyle(element);
      if (style.visibility !== "visible" || style.display === "none" || style.pointerEvents === "none") continue;
      const point = uncoveredPoint(element);
      if (point === null) continue;
      if (!keys.has(element)) { keys.set(element, byKey.length); byKey.push(element); }
      const box = element.getBoundingClientRect();
      found.push({
        key: keys.get(element), role: roleOf(element), name: nameOf(element), point,
        box: [box.left, box.top, box.width, box.height],
      });
    }
    return found;
  }

  function look() {
    return {
      utterance: core.getUtterance(), elements: visibleElements(), ready: WOB_TASK_READY,
      done: WOB_DONE_GLOBAL, rawReward: WOB_DONE_GLOBAL ? Number(WOB_RAW_REWARD_GLOBAL) : 0,
    };
  }

  function start(seed) {
    if (!document.getElementById("vlmq-style")) {
      const style = document.createElement("style");
      style.id = "vlmq-style";
      // A blinking caret would make the picture depend on the clock.
      style.textContent = "* { caret-color: transparent !important }";
      document.head.appendChild(style);
    }
    core.EPISODE_MAX_TIME = MAX_TIME_MS;
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

  window.vlmqPage = { start, look, pointOf };
})();
