// Puts the page together: head, results, curves, episodes, keys.
function resultsTable(rows) {
  const names = ["", "success", "95 % interval", "return", "syntax", "episodes", "seed"];
  const head = element("thead", {}, element("tr", {}, names.map((name) => element("th", { scope: "col" }, name))));
  const body = rows.map((row) => {
    const full = element("i"), interval = element("b");
    full.style.width = `${100 * row.success}%`;
    interval.style.left = `${100 * row.low}%`;
    interval.style.width = `${100 * (row.high - row.low)}%`;
    return element("tr", {}, element("th", { scope: "row" }, row.name),
      element("td", {}, percent(row.success), element("span", { class: "meter" }, full, interval)),
      element("td", {}, `${(100 * row.low).toFixed(1)} to ${(100 * row.high).toFixed(1)}`), element("td", {}, number(row.return, 2)),
      element("td", {}, percent(row.syntax)), element("td", {}, row.episodes.toLocaleString("en")), element("td", {}, String(row.seed)));
  });
  return element("section", { class: "panel wide" }, element("h2", {}, "Results"), element("table", { class: "results" }, head, element("tbody", {}, body)));
}

function keysHelp() {
  const keys = [["\u2192  j", "next episode"], ["\u2190  k", "previous episode"], ["1  2  3  4", "colour by advantage, Q, V; plain"], ["c", "the same seed side by side"],
    ["/", "find in texts"], ["t", "light or dark"], ["?", "these keys"]];
  const box = element("dialog", { class: "keys", click: () => box.close() }, element("h2", {}, "Keys"),
    element("table", {}, keys.map(([key, does]) => element("tr", {}, element("td", {}, key.split("  ").flatMap((one) => [element("kbd", {}, one), " "])), element("td", {}, does)))));
  return box;
}

function page() {
  const summary = embedded("summary");
  const theme = themeSwitch(), help = keysHelp();
  const browser = episodeBrowser(summary);
  const top = element("header", { class: "top" },
    element("div", {}, element("h1", {}, summary.title), element("p", { class: "soft" }, summary.subtitle)),
    element("div", { class: "tools" }, element("button", { type: "button", class: "button", title: "keys (?)", click: () => help.showModal() }, "keys"), theme));
  const figures = (aside) => summary.charts.filter((chart) => chart.aside === aside).map((chart) => chartFigure(chart));
  const overview = element("div", { class: "overview" }, summary.rows.length ? resultsTable(summary.rows) : null, figures(false));
  const aside = figures(true);
  const further = aside.length ? element("details", { class: "further" }, element("summary", {}, "more curves"), element("div", { class: "overview" }, aside)) : null;
  document.body.append(
    element("div", { class: "wrap" }, top, summary.notes.map((note) => element("p", { class: "notes" }, note)), overview, further),
    element("section", { class: "episodes" }, browser.node), tip, help);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && document.activeElement === browser.find) browser.find.blur();
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "range") return;
    if (event.target.type === "range" && event.key.startsWith("Arrow")) return;
    if (document.querySelector("dialog[open]")) return;
    const does = {
      ArrowRight: () => browser.step(1), j: () => browser.step(1), ArrowLeft: () => browser.step(-1), k: () => browser.step(-1),
      1: () => browser.heat("advantage"), 2: () => browser.heat("q"), 3: () => browser.heat("value"), 4: () => browser.heat("none"),
      c: () => browser.compare(), t: () => theme.click(), "?": () => help.showModal(), "/": () => browser.find.focus(),
    }[event.key];
    if (does) {
      event.preventDefault();
      does();
    }
  });
}

page();
