// The page's side of the driver: starts an episode, and reports what an onlooker of the task area can see.
(() => {
  // An airline's booking page is the frame of a page that deals the tasks and judges them; of all others, both are one.
  const dealer = window === window.top ? window : window.parent;
  const framed = window !== window.top && dealer === window.top && !!window.frameElement && window.frameElement.id === "wrap";
  if (window !== window.top && !framed) return;
  const [WIDTH, HEIGHT] = framed ? [375, 667] : [160, 210];   // the task area, at the top left of the window
  const MAX_TIME_MS = 1e9;                 // setTimeout overflows at 2^31 and would fire at once
  const MAX_NAME = 60;
  const NATIVE = "button, a, input, select, textarea";
  const ROLES = ["button", "link", "checkbox", "radio", "textbox", "combobox", "searchbox", "slider", "spinbutton", "switch",
    "tab", "option", "menuitem", "menuitemcheckbox", "menuitemradio", "treeitem"];
  const INTERACTIVE = [NATIVE, "[onclick]", ".ui-menu-item-wrapper", "[contenteditable]", "[tabindex]:not([tabindex='-1'])",
    ...ROLES.map((role) => `[role=${role}]`)].join(", ");
  const INPUT_ROLES = {
    button: "button", submit: "button", reset: "button", image: "button", checkbox: "checkbox",
    radio: "radio", range: "slider", number: "spinbutton", search: "searchbox",
  };
  const TAG_ROLES = { BUTTON: "button", A: "link", SELECT: "combobox", TEXTAREA: "textbox" };

  // What a library makes draggable: it listens on the list or the window, not on the thing that moves. Of the handles
  // around a window only the one with an icon can be seen.
  const MOVABLE = "[draggable=true], .ui-draggable, .ui-sortable > *, .ui-resizable-handle.ui-icon";
  const MARGIN = "#reward-display, #click-canvas, script, style";
  const FURNITURE = `#sync-task-cover, ${MARGIN}`;
  const SHAPES = ["circle", "ellipse", "rect", "line", "polygon", "polyline", "path"];
  const COLOURS = {
    "0,0,0": "black", "255,255,255": "white", "128,128,128": "grey", "255,0,0": "red", "0,255,0": "lime", "0,128,0": "green",
    "0,0,255": "blue", "255,255,0": "yellow", "255,0,255": "magenta", "0,255,255": "cyan", "128,128,0": "olive",
    "128,0,128": "purple", "255,165,0": "orange", "255,192,203": "pink",
  };

  const CLICKS = ["click", "dblclick"], PRESSES = ["mousedown", "mouseup", "pointerdown"];
  const EDITABLE = ["", "date", "email", "month", "number", "password", "search", "tel", "text", "time", "url", "week"];
  const MAX_OPTIONS = 12;

  const COVER_STEP = 10;                   // pixels between the points at which the cover is looked for
  const TRIAL_SEED = 0;
  const SOON_MS = 1000;
  const CORE_TIMERS = 2;                   // of an episode: its limit and the countdown that is not shown

  let keys = new Map();                    // element -> number, in the order in which they stand on the page
  let byKey = [];

  // Elements that wait for a click without looking like it: what the page's scripts listen on.
  const clicked = new WeakSet(), pressed = new WeakSet();
  const listen = EventTarget.prototype.addEventListener;
  // A press on marked text would carry it away in the browser's own drag: the page would not hear the mouse, and what was
  // pressed would now and then stay so.
  listen.call(window, "dragstart", (event) => { if (!getSelection().isCollapsed) event.preventDefault(); }, true);
  EventTarget.prototype.addEventListener = function (type, ...rest) {
    if (this instanceof Element && CLICKS.includes(type)) clicked.add(this);
    if (this instanceof Element && PRESSES.includes(type)) pressed.add(this);
    return listen.call(this, type, ...rest);
  };

  // The page's timers that have not gone off, by kind and number, with the milliseconds after which they end.
  const waiting = new Map();
  function follow(set, clear, kind, once) {
    const [later, never] = [window[set].bind(window), window[clear].bind(window)];
    window[set] = (task, ...rest) => {
      const run = typeof task === "function" ? task : new Function(task);
      const id = later((...given) => {
        if (once) waiting.delete(kind + id);
        run(...given);
      }, ...rest);
      waiting.set(kind + id, once ? Number(rest[0]) || 0 : Infinity);
      return id;
    };
    window[clear] = (id) => {
      waiting.delete(kind + id);
      never(id);
    };
  }
  follow("setTimeout", "clearTimeout", "timer", true);
  follow("setInterval", "clearInterval", "timer", false);
  follow("requestAnimationFrame", "cancelAnimationFrame", "frame", true);

  // What was scrolled since the page stood as it should.
  const moved = new Set();
  listen.call(window, "scroll", (event) => event.target instanceof Element && moved.add(event.target), true);

  const waitsForClicks = (element) => clicked.has(element) || !!element.onclick;
  const isMovable = (element) => element.matches(MOVABLE)
    || (element instanceof SVGElement && pressed.has(element) && !waitsForClicks(element));
  const isInteractive = (element) => element.matches(INTERACTIVE) || waitsForClicks(element) || pressed.has(element)
    || isMovable(element);

  function closestInteractive(element) {
    while (element && element !== document.body && !isInteractive(element)) element = element.parentElement;
    return element === document.body ? null : element;
  }

  function roleOf(element) {
    const declared = element.getAttribute("role");
    if (declared && ROLES.includes(declared.trim().toLowerCase())) return declared.trim().toLowerCase();
    if (element.matches(".ui-slider-handle")) return "slider";
    if (element.matches(".ui-menu-item-wrapper")) return "option";
    if (element.tagName === "INPUT") return INPUT_ROLES[element.type] || "textbox";
    if (element instanceof SVGElement) return element.tagName.toLowerCase();
    return TAG_ROLES[element.tagName] || "generic";
  }

  const isEditable = (element) => element.isContentEditable || element.tagName === "TEXTAREA"
    || (element.tagName === "INPUT" && EDITABLE.includes(element.getAttribute("type") || ""));

  const takesText = (element) => isEditable(element) && !element.readOnly;

  const oneLine = (text) => text.replace(/\s+/g, " ").trim();
  const squeezed = (text) => oneLine(text).slice(0, MAX_NAME);

  // A colour by its common name, or as #rrggbb; "" where nothing is painted.
  function colourName(css) {
    const parts = (css.match(/[\d.]+/g) || []).map(Number);
    if (parts.length < 3 || parts[3] === 0) return "";
    const whole = parts.slice(0, 3).map(Math.round);
    return COLOURS[whole.join()] || "#" + whole.map((part) => part.toString(16).padStart(2, "0")).join("");
  }

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
    const moves = isMovable(element) ? ["draggable"] : [];
    if (element instanceof SVGElement) return element.getAttribute("fill") ? [`fill ${element.getAttribute("fill")}`, ...moves] : moves;
    const colour = element.matches(NATIVE) || element.childNodes.length ? "" : colourName(getComputedStyle(element).backgroundColor);
    return colour ? [`fill ${colour}`, ...moves] : moves;
  }

  // All that an element holds or says, of which its name and state show the beginning.
  function wholeText(element) {
    if (isEditable(element) && !element.isContentEditable) return element.value;
    return element instanceof HTMLElement ? element.innerText : element.textContent;
  }

  // What is written on an element for the eye: neither a closed menu nor letters without a size.
  function writtenOn(element) {
    if (!(element instanceof HTMLElement)) return element.textContent;
    const written = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    for (let node = written.nextNode(); node; node = written.nextNode()) {
      if (node.data.trim() && parseFloat(getComputedStyle(node.parentElement).fontSize)) return element.innerText;
    }
    return "";
  }

  function nameOf(element) {
    const labels = element.labels ? Array.from(element.labels, (label) => label.textContent).join(" ") : "";
    const value = INPUT_ROLES[element.type] === "button" ? element.value : "";
    const content = ["INPUT", "SELECT", "TEXTAREA"].includes(element.tagName) ? "" : writtenOn(element);
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
      // A coarse grid finds most; pixel by pixel finds the thin rim that a neighbour leaves free. The large pages have
      // none, and hundreds of elements behind a calendar.
      const eighth = Math.floor(Math.min(right - left, bottom - top) / 8);
      for (const step of framed ? [Math.max(8, eighth)] : [Math.max(2, eighth), 1]) {
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
    if (dealer.WOB_DONE_GLOBAL) return found;     // the page has put its START cover over everything
    const moving = window.jQuery ? jQuery.timers.map((timer) => timer.elem).filter((elem) => elem instanceof Element) : [];
    for (const element of document.body.querySelectorAll("*")) {
      if (!isInteractive(element) || element.closest(MARGIN)) continue;
      // Numbered whether it is seen or not: what slides in is looked at now a moment sooner and now a moment later.
      if (!keys.has(element)) { keys.set(element, byKey.length); byKey.push(element); }
      if (element.disabled) continue;
      // What only surrounds other things to click, a window that can be dragged for instance, is no thing to click.
      const surrounds = !element.matches(NATIVE) && !waitsForClicks(element) && Array.from(element.querySelectorAll("*")).some(isInteractive);
      if (surrounds || (element.id === "wrap") || (element.id === "area" && element.children.length)) continue;
      const style = getComputedStyle(element);
      if (style.visibility !== "visible" || style.display === "none" || style.pointerEvents === "none") continue;
      const point = uncoveredPoint(element);
      if (point === null) continue;
      const box = element.getBoundingClientRect();
      found.push({
        key: keys.get(element), role: roleOf(element), name: nameOf(element), state: stateOf(element), point,
        box: boxOf(box), text: wholeText(element), takesText: takesText(element), moves: moving.some((mover) => mover.contains(element)),
      });
    }
    return found;
  }

  // Whether the episode is there, pictures included: what they show, and where things stand, depends on them.
  function ready() {
    if (!dealer.WOB_TASK_READY) return false;
    if (stage()) return stage().contentWindow.vlmqPage.ready();
    if (framed) hideCaret();
    return picturesAreThere();
  }

  const picturesAreThere = () => Array.from(document.images).every((image) => image.complete);

  // Whether nothing is under way that ends by itself: what slides, fades, or has yet to load.
  function atRest() {
    const running = document.getAnimations().some((each) => each.playState === "running" && each.effect.getComputedTiming().endTime < Infinity);
    const loaded = document.readyState === "complete" && document.fonts.status === "loaded" && picturesAreThere();
    const busy = window.jQuery && ((jQuery.timers && jQuery.timers.length) || jQuery.active);
    return loaded && !running && !busy && !Array.from(waiting.values()).some((ms) => ms <= SOON_MS);
  }

  // The frame that the task is played in, where the page is of those that have one; a page on disk may not claim it.
  const stage = () => (!framed && location.protocol === "https:" ? document.querySelector("iframe#wrap") : null);

  const boxOf = (rect) => [rect.left, rect.top, rect.width, rect.height];

  // The part of a rectangle of an element that can be seen, as a box; null where it is clipped away or covered.
  function shownPart(rect, element) {
    let left = Math.max(0, rect.left), right = Math.min(WIDTH, rect.right);
    let top = Math.max(0, rect.top), bottom = Math.min(HEIGHT, rect.bottom);
    for (let around = element; around && around !== document.body; around = around.parentElement) {
      if (around instanceof SVGElement || getComputedStyle(around).overflow === "visible") continue;
      const clip = around.getBoundingClientRect();
      left = Math.max(left, clip.left); right = Math.min(right, clip.right);
      top = Math.max(top, clip.top); bottom = Math.min(bottom, clip.bottom);
    }
    if (right - left < 1 || bottom - top < 1) return null;
    const hit = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
    const uncovered = !hit || hit.contains(element) || element.contains(hit) || element instanceof SVGElement;
    return uncovered ? [left, top, right - left, bottom - top] : null;
  }

  const isShown = (element, furniture) => !element.closest(furniture)
    && element.checkVisibility({ opacityProperty: true, visibilityProperty: true });

  // Text where it lies: each piece with the boxes of its lines.
  function visibleTexts() {
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const element = node.parentElement;
      if (!node.data.trim() || !isShown(element, `#query, ${FURNITURE}`) || element.closest("textarea, select")) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      const boxes = Array.from(range.getClientRects(), (rect) => shownPart(rect, element)).filter((box) => box);
      const style = getComputedStyle(element);
      const colour = colourName(element instanceof SVGElement ? style.fill : style.color);
      if (boxes.length) found.push({ text: oneLine(node.data), boxes, colour });
    }
    return found;
  }

  // The corners of a shape, or the ends of a line, in pixels of the page.
  function cornersOf(shape) {
    const matrix = shape.getScreenCTM();
    const own = shape.points ? Array.from(shape.points)
      : shape.tagName === "line" ? [[shape.x1, shape.y1], [shape.x2, shape.y2]].map(([x, y]) => new DOMPoint(x.baseVal.value, y.baseVal.value))
        : [];
    return own.map((point) => new DOMPoint(point.x, point.y).matrixTransform(matrix)).map((point) => [point.x, point.y]);
  }

  // What a picture shows, by its description, its file or its style.
  const pictureName = (element) => element.alt || element.title
    || (element.tagName === "IMG" ? element.src.split("/").pop().replace(/\.\w+$/, "") : element.getAttribute("class")) || "";

  // What is drawn: shapes, pictures and patches of colour, whether they can be clicked or not.
  function visibleFigures() {
    const found = [];
    for (const element of document.body.querySelectorAll("*")) {
      const style = getComputedStyle(element);
      const isShape = element instanceof SVGElement && SHAPES.includes(element.tagName);
      const isPatch = element instanceof HTMLElement && !element.matches(NATIVE) && !element.childNodes.length;
      const fill = colourName(isShape ? style.fill : style.backgroundColor);
      const isIcon = isPatch && style.backgroundImage !== "none";
      const outlined = isPatch && parseFloat(style.borderTopWidth) > 0;
      const kind = isShape ? element.tagName : element.tagName === "IMG" ? "image" : isIcon ? "icon"
        : isPatch && (fill || outlined) ? "patch" : "";
      if (!kind || !isShown(element, FURNITURE)) continue;
      const rect = element.getBoundingClientRect();
      const box = ["line", "path", "polyline"].includes(kind) ? boxOf(rect) : shownPart(rect, element);
      if (box) found.push({ kind, name: pictureName(element), fill, box, corners: isShape ? cornersOf(element) : [] });
    }
    return found;
  }

  // What scrolls, with the pixels hidden above and below its window.
  function scrolled() {
    const found = [];
    for (const element of document.body.querySelectorAll("*")) {
      const below = element.scrollHeight - element.clientHeight - element.scrollTop;
      if (element.scrollTop < 1 && below < 1) continue;
      const moves = element.tagName === "TEXTAREA" || ["auto", "scroll"].includes(getComputedStyle(element).overflowY);
      if (!moves || !isShown(element, FURNITURE)) continue;
      found.push({ box: boxOf(element.getBoundingClientRect()), above: element.scrollTop, below });
    }
    return found;
  }

  function selectedText() {
    const active = document.activeElement;
    const held = active && isEditable(active) && !active.isContentEditable && active.selectionStart !== null;
    return held ? active.value.slice(active.selectionStart, active.selectionEnd) : String(getSelection());
  }

  // The instruction as it is read; some pages hand it over together with the answer.
  function utterance() {
    const said = dealer.core.getUtterance();
    return typeof said === "string" ? said : said.utterance;
  }

  // Whether the element with the caret may have a window of its own over the page: the options of a list, a calendar.
  function unfolds() {
    return document.activeElement !== null && document.activeElement.matches(
      "select, input[list], input[type=date], input[type=time], input[type=month], input[type=week], input[type=color]");
  }

  function visibleText() {
    const area = document.getElementById("area") || document.body;
    return dealer.WOB_DONE_GLOBAL ? "" : area.innerText || "";
  }

  // What the cover that a page puts over everything when a task ends looks like; null where it is not there, not all
  // that is seen, or something of the browser's own may lie above it.
  function cover() {
    const over = dealer.WOB_DONE_GLOBAL && !framed && !unfolds() ? document.getElementById("sync-task-cover") : null;
    if (over === null) return null;
    const rect = over.getBoundingClientRect(), style = getComputedStyle(over);
    const opaque = style.opacity === "1" && style.backgroundColor.startsWith("rgb(");
    if (!opaque || rect.left > 0 || rect.top > 0 || rect.right < WIDTH || rect.bottom < HEIGHT) return null;
    for (let y = COVER_STEP / 2; y < HEIGHT; y += COVER_STEP) {
      for (let x = COVER_STEP / 2; x < WIDTH; x += COVER_STEP) if (document.elementFromPoint(x, y) !== over) return null;
    }
    return JSON.stringify([boxOf(rect), over.innerText, style.font, style.color, style.backgroundColor]);
  }

  function look() {
    return {
      utterance: utterance(), elements: visibleElements(), ready: ready(), text: visibleText(),
      texts: dealer.WOB_DONE_GLOBAL ? [] : visibleTexts(), figures: dealer.WOB_DONE_GLOBAL ? [] : visibleFigures(),
      scrolled: dealer.WOB_DONE_GLOBAL ? [] : scrolled(), selected: selectedText(), focused: keys.get(document.activeElement) ?? null,
      unfolds: unfolds(), cover: cover(), done: dealer.WOB_DONE_GLOBAL, rawReward: dealer.WOB_DONE_GLOBAL ? Number(dealer.WOB_RAW_REWARD_GLOBAL) : 0,
      reward: dealer.WOB_DONE_GLOBAL ? Number(dealer.vlmqPage.decays() ? dealer.WOB_REWARD_GLOBAL : dealer.WOB_RAW_REWARD_GLOBAL) : 0,
    };
  }

  let ownTime = null;                      // the page's own limit in ms, after which it ends the episode
  let decays = false;
  let restless = false;                    // whether a problem starts timers of its own
  let asNew = null;                        // the trial of the page as it was loaded

  // A blinking caret would make the picture depend on the clock.
  function hideCaret() {
    if (document.getElementById("vlmq-style")) return;
    const style = document.createElement("style");
    style.id = "vlmq-style";
    style.textContent = "* { caret-color: transparent !important }";
    document.head.appendChild(style);
  }

  // Before an episode: the page's own clock, and nothing left of the last one.
  function prepare(decay) {
    hideCaret();
    if (ownTime === null) ownTime = core.EPISODE_MAX_TIME;
    decays = decay;
    core.EPISODE_MAX_TIME = decay ? ownTime : MAX_TIME_MS;
    core.endEpisode(0);
    if (document.activeElement) document.activeElement.blur();
    localStorage.clear();
    sessionStorage.clear();
    keys = new Map();
    byKey = [];
  }

  // An episode that nobody plays: pictures load when they are first shown, and the next one finds them there.
  function warmUp() {
    prepare(false);
    const before = waiting.size;
    Math.seedrandom(TRIAL_SEED);
    core.startEpisodeReal();
    restless = waiting.size > before + CORE_TIMERS;
  }

  // The page as it stands: tags, what its fields hold, what is scrolled, how much waits to happen.
  function stand() {
    const shells = [document.documentElement, document.body].map((element) => element.cloneNode(false));
    const parts = Array.from(document.body.children).filter((element) => !element.matches(MARGIN));
    const fields = Array.from(document.querySelectorAll("input, textarea, select"), (field) => [field.value, field.checked, field.selectedIndex]);
    const scrolls = Array.from(moved).filter((element) => element.isConnected && (element.scrollTop || element.scrollLeft)).length;
    // Without what nobody sees: that an element was once clicked or dragged, and numbers that libraries go on counting.
    const tags = [...shells, ...parts].map((element) => element.outerHTML).join("")
      .replace(/ data-tampered="[^"]*"| style="(cursor: auto;)?"|(?<=ui-id-|"dp|#dp)\d+/g, "");
    moved.clear();
    return JSON.stringify([utterance(), tags, fields, scrolls, waiting.size]);
  }

  // Whether nothing of earlier episodes is left: the page makes of one seed what it made when it was loaded.
  function isAsNew() {
    const isFirst = asNew === null;
    if (!restless) {
      Math.seedrandom(TRIAL_SEED);
      genProblem();
    }
    const now = stand();
    if (isFirst) asNew = now;
    return isFirst || (now === asNew && !restless);
  }

  // Begin the seed's episode; null where this is not the page at the address, or no longer as it was loaded.
  function start(seed, decay, address) {
    if (location.href.split("#")[0] !== address) return null;
    prepare(decay);
    if (!stage() && !isAsNew()) return null;
    Math.seedrandom(seed);
    core.startEpisodeReal();
    return stage() ? { ready: false } : look();
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
    if (!element || !takesText(element)) return false;
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

  const ours = Object.freeze({ decays: () => decays, ready, atRest, prepare, warmUp, start, look, pointOf, select, setValue, focus, choose });
  Object.defineProperty(window, "vlmqPage", { value: ours });
})();
