// The list of episodes, of which only what is in view is drawn: filters, order, and the sheet beside it.
const ROW = 56, SPARE = 8; // height of a line in pixels, as the style has it; lines drawn above and below the view

function episodeBrowser(summary) {
  const rows = summary.episodes, judged = rows.some((row) => row.advantage !== null);
  const twins = twinsOf(rows);
  const state = { outcome: "all", only: "all", origin: "all", order: "listed", words: "", current: -1, beside: -1, paired: false };
  let shown = [];

  const scroll = element("div", { class: "scroll" });
  const list = element("nav", { class: "list", "aria-label": "episodes", scroll: draw }, scroll);
  const sheets = element("div", { class: "sheets" });
  const told = element("span", { class: "count", "aria-live": "polite" });
  let lines = new Map(); // those drawn, by the episode's place

  const outcome = choice("outcome", [["all", "all"], ["success", "success"], ["failed", "failed"]], "all", set("outcome"));
  const only = picked("which episodes", [
    ["all", "every episode"], ["unparsed", "syntax error"], ["refused", "illegal action"],
    ...(judged ? [["over", "succeeded, critic far off"], ["under", "failed, critic far off"]] : []),
    ...(twins.size ? [["twins", "same seed played twice"], ["parted", "same seed, other outcome"]] : []),
  ], set("only"));
  const origins = [...new Set(rows.map((row) => row.origin))];
  const origin = picked("origin", [["all", "every origin"], ...origins.map((name) => [name, name])], set("origin"));
  const order = picked("order", [
    ["listed", "as recorded"],
    ...(judged ? [["advantage", "largest advantage"], ["gap", "largest disagreement"]] : []),
    ["worst", "lowest return"], ["best", "highest return"], ["turns", "most turns"],
  ], set("order"));
  const find = element("input", { class: "find", type: "search", placeholder: "find ( / )", "aria-label": "find in texts", input: () => set("words")(find.value) });
  const before = element("button", { type: "button", class: "button", title: "previous (\u2190 or k)", "aria-label": "previous", click: () => step(-1) }, "\u2190");
  const after = element("button", { type: "button", class: "button", title: "next (\u2192 or j)", "aria-label": "next", click: () => step(1) }, "\u2192");
  const pair = element("button", { type: "button", class: "button", title: "the same seed side by side (c)", "aria-pressed": "false", click: () => compare(!state.paired) }, "side by side");
  const other = element("select", { class: "pick", "aria-label": "compared with", hidden: true, change: () => { state.beside = Number(other.value); show(); } });
  const bar = element("div", { class: "bar" }, outcome, only, origins.length > 1 ? origin : null, order, find, before, after, twins.size ? [pair, other] : null, told);
  const controls = judged ? heatControls(summary, repaint) : null;

  function set(name) {
    return (value) => {
      state[name] = value;
      if (name === "order") state.current = -1; // whoever asks for the largest wants to see it
      filter();
    };
  }

  function filter() {
    const needle = inJson(state.words.trim());
    shown = rows.map((_, at) => at).filter((at) => fits(rows[at], at, needle));
    const by = { advantage: (row) => -Math.abs(row.advantage), gap: (row) => -row.gap, worst: (row) => row.return, best: (row) => -row.return, turns: (row) => -row.turns }[state.order];
    if (by) shown.sort((a, b) => by(rows[a]) - by(rows[b]) || a - b);
    lines = new Map();
    scroll.replaceChildren();
    scroll.style.height = shown.length ? `${shown.length * ROW}px` : "";
    if (!shown.length) scroll.append(element("p", { class: "empty" }, rows.length ? "No episode is like that." : "There are no episodes to show."));
    list.scrollTop = 0;
    told.textContent = shown.length === rows.length ? count(rows.length, "episode") : `${shown.length.toLocaleString("en")} of ${count(rows.length, "episode")}`;
    select(shown.includes(state.current) ? state.current : shown[0] ?? -1, false);
  }

  function fits(row, at, needle) {
    if (state.outcome !== "all" && row.success !== (state.outcome === "success")) return false;
    if (state.origin !== "all" && row.origin !== state.origin) return false;
    if (state.only === "unparsed" && !row.unparsed) return false;
    if (state.only === "refused" && !row.refused) return false;
    if (state.only === "over" && !(row.success && row.gap > summary.gap)) return false;
    if (state.only === "under" && !(!row.success && row.gap > summary.gap)) return false;
    if (state.only === "twins" && !twins.has(at)) return false;
    if (state.only === "parted" && !(twins.get(at) || []).some((one) => rows[one].success !== row.success)) return false;
    if (!needle) return true;
    const heading = inJson(`${row.origin} ${row.index} ${row.env} ${row.seed} ${row.sources.join(" ")}`);
    return heading.includes(needle) || document.getElementById(`e${at}`).textContent.toLowerCase().includes(needle);
  }

  /** Draw the lines in view, and let go of the others. */
  function draw() {
    if (!shown.length) return;
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - SPARE);
    const last = Math.min(shown.length, first + Math.ceil((list.clientHeight || innerHeight) / ROW) + 2 * SPARE);
    const wanted = shown.slice(first, last);
    if (wanted.length === lines.size && wanted.every((at) => lines.has(at))) return;
    lines = new Map(wanted.map((at, nth) => {
      const one = lines.get(at) || line(at);
      one.style.top = `${(first + nth) * ROW}px`;
      return [at, one];
    }));
    scroll.replaceChildren(...lines.values());
  }

  function line(at) {
    const row = rows[at];
    const bad = row.unparsed ? `, ${count(row.unparsed, "syntax error")}` : row.refused ? `, ${count(row.refused, "illegal action")}` : "";
    const thumb = row.picture >= 0 ? picture(row.picture, "t", { class: "thumb", alt: "" }) : element("span", { class: "thumb" });
    return element("button", { type: "button", class: "row", "data-at": at, "aria-current": at === state.current ? "true" : null, click: () => select(at) }, thumb,
      element("span", {}, element("b", {}, `${row.origin} ${row.index}`), element("span", { class: "soft" }, count(row.turns, "turn") + bad)),
      element("span", { class: "end" }, element("span", { class: `mark ${row.success ? "won" : "lost"}`, title: row.success ? "success" : "failed" }, row.success ? "\u2713" : "\u2717"),
        element("br"), short(row.return)));
  }

  function select(at, follow = true) {
    if (at !== state.current) state.beside = -1;
    lines.get(state.current)?.removeAttribute("aria-current");
    state.current = at;
    reveal();
    lines.get(at)?.setAttribute("aria-current", "true");
    show();
    if (follow && sheets.getBoundingClientRect().top < 0) sheets.scrollIntoView({ block: "start" });
  }

  /** Scroll the list so far that the present episode is in view, and draw what is. */
  function reveal() {
    const top = shown.indexOf(state.current) * ROW;
    if (top >= 0 && top < list.scrollTop) list.scrollTop = top;
    else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
    draw();
  }

  function show() {
    sheets.forget?.();
    const at = state.current, others = twins.get(at) || [], place = shown.indexOf(at);
    before.disabled = place <= 0;
    after.disabled = place < 0 || place === shown.length - 1;
    pair.disabled = !others.length;
    const beside = state.paired && others.length ? (others.includes(state.beside) ? state.beside : others[0]) : -1;
    other.hidden = beside < 0 || others.length < 2;
    other.replaceChildren(...others.map((one) => element("option", { value: one, selected: one === beside }, `${rows[one].origin} ${rows[one].index}`)));
    sheets.classList.toggle("two", beside >= 0);
    sheets.replaceChildren(...[at, beside].filter((one) => one >= 0).map((one) => sheet(one, rows[one])));
    if (at < 0) sheets.append(element("p", { class: "sheet empty" }, "Nothing to show."));
    repaint();
    history.replaceState(null, "", at < 0 ? "#" : `#episode-${at}${beside < 0 ? "" : `-beside-${beside}`}`);
  }

  function repaint() {
    if (controls) controls.tell(...colour(sheets));
  }

  function step(by) {
    const place = shown.indexOf(state.current) + by;
    if (place >= 0 && place < shown.length) select(shown[place]);
  }

  function compare(paired) {
    state.paired = paired;
    pair.setAttribute("aria-pressed", String(paired));
    show();
  }

  new ResizeObserver(reveal).observe(list); // at first, too, when it has its size
  const asked = /^#episode-(\d+)(?:-beside-(\d+))?$/.exec(location.hash);
  if (asked && Number(asked[1]) < rows.length) state.current = Number(asked[1]);
  const beside = asked && asked[2] ? Number(asked[2]) : -1;
  filter();
  if (asked) select(state.current);
  if (beside >= 0 || summary.paired) { state.beside = beside; compare(true); }
  listen(sheets);
  const node = element("div", { class: "wrap" }, bar, element("div", { class: "panes" }, list, element("main", {}, controls ? controls.node : null, sheets)));
  return { node, step, compare: () => twins.size && compare(!state.paired), find, heat: (by) => controls?.press(by) };
}

/** For each episode those of the same environment, arguments and seed. */
function twinsOf(rows) {
  const groups = new Map();
  rows.forEach((row, at) => {
    const key = JSON.stringify([row.env, row.args, row.seed]);
    groups.set(key, [...(groups.get(key) || []), at]);
  });
  const twins = new Map();
  for (const group of groups.values()) {
    if (group.length > 1) for (const at of group) twins.set(at, group.filter((one) => one !== at));
  }
  return twins;
}

/** A text as it stands in the embedded JSON, in small letters. */
function inJson(text) {
  const escaped = JSON.stringify(text).slice(1, -1).replace(/[<>&\u0080-\uffff]/g, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return escaped.toLowerCase();
}

/** What the tokens' colour stands for, and the filter's margin. */
function heatControls(summary, repaint) {
  heat.margin = summary.margin ?? 0;
  heat.span = summary.span;
  const scale = element("span", { class: "scale a" }), ends = [element("span", { class: "soft" }), element("span", { class: "soft" })];
  const told = element("output"), counted = element("span", { class: "soft" });
  const least = Math.min(-0.3, heat.margin);
  const margin = element("input", { type: "range", min: least, max: 0.1, step: 0.005, value: heat.margin, id: "margin", input: () => { heat.margin = Number(margin.value); tellMargin(); repaint(); } });
  const tellMargin = () => { told.textContent = number(heat.margin); };
  const paint = (by) => {
    heat.by = by;
    scale.className = by === "advantage" ? "scale a" : "scale q";
    scale.hidden = ends[0].hidden = ends[1].hidden = by === "none";
    const [low, high] = by === "advantage" ? [-FULL, FULL] : heat.span;
    ends[0].textContent = number(low, 2, by === "advantage");
    ends[1].textContent = number(high, 2, by === "advantage");
    repaint();
  };
  const kinds = choice("heat", [["advantage", "advantage", "1"], ["q", "Q", "2"], ["value", "V", "3"], ["none", "plain", "4"]], "advantage", (by) => paint(by));
  const unit = element("span", { class: "soft" }, `1 = a return range, ${short(summary.range)} of reward`);
  const node = element("div", { class: "heat" }, kinds, element("span", {}, ends[0], " ", scale, " ", ends[1]),
    element("label", {}, "margin of the filter", margin, told), counted, unit);
  tellMargin();
  const tell = (all, out) => { counted.textContent = `${out.toLocaleString("en")} of ${count(all, "token")} left out`; };
  queueMicrotask(() => paint("advantage"));
  return { node, tell, press: (by) => { kinds.press(by); paint(by); } };
}
