// Curves as SVG: axes, bands, intervals, and the nearest values under the pointer.
const WIDE = 450, HIGH = 240, EDGE = { left: 44, right: 14, top: 20, bottom: 32 };

/** A chart of `vlmq/report/charts.py` as a figure; `height` of its drawing, in units of its width of 450. */
function chartFigure(chart, height = HIGH) {
  const key = element("ul", { class: "key" }, chart.series.map((one, at) => element("li", { class: `s${at % 6}` }, one.name)));
  return element("figure", { class: "panel" },
    element("h2", {}, chart.title), element("p", { class: "soft small" }, chart.note),
    plot(chart, height), chart.series.length > 1 || chart.diagonal ? key : null);
}

function plot(chart, height) {
  const points = chart.series.flatMap((one) => one.points);
  const across = extent([...points.map((p) => p[0]), ...chart.bands.flatMap((band) => [band.start, band.end])]);
  const values = points.flatMap((p) => p.slice(1));
  if (chart.level) values.push(chart.level[0]);
  let up = chart.percent ? [0, 1] : extent(values);
  if (chart.diagonal) up = extent([...across, ...up]);
  const sides = chart.diagonal ? padded(up) : across[0] === across[1] ? [across[0] - 1, across[1] + 1] : across;
  if (!chart.percent) up = padded(up);
  const x = (value) => EDGE.left + ((value - sides[0]) / (sides[1] - sides[0])) * (WIDE - EDGE.left - EDGE.right);
  const y = (value) => height - EDGE.bottom - ((value - up[0]) / (up[1] - up[0])) * (height - EDGE.top - EDGE.bottom);
  const svg = drawn("svg", { class: "chart", viewBox: `0 0 ${WIDE} ${height}`, role: "img", "aria-label": `${chart.title}: ${chart.note}` });
  bands(svg, chart, x, height);
  axes(svg, chart, x, y, sides, up, height);
  if (chart.diagonal) svg.append(drawn("path", { class: "diagonal", d: `M${x(sides[0])} ${y(sides[0])}L${x(sides[1])} ${y(sides[1])}` }));
  if (chart.level) {
    const high = y(chart.level[0]);
    svg.append(drawn("path", { class: "level", d: `M${EDGE.left} ${high}H${WIDE - EDGE.right}` }),
      drawn("text", { x: WIDE - EDGE.right - 2, y: high - 4, "text-anchor": "end" }, chart.level[1]));
  }
  chart.series.forEach((one, at) => curve(svg, one, at, x, y));
  hover(svg, chart, x, y, height);
  return svg;
}

function curve(svg, one, at, x, y) {
  const group = drawn("g", { class: `s${at % 6}` });
  const through = (points, pick) => points.map((p) => `${x(p[0]).toFixed(1)} ${y(pick(p)).toFixed(1)}`);
  const interval = one.points.length > 0 && one.points[0].length === 4;
  if (interval && one.points.length > 1) {
    const upper = through(one.points, (p) => p[3]), lower = through(one.points, (p) => p[2]).reverse();
    group.append(drawn("path", { class: "area", d: `M${[...upper, ...lower].join("L")}Z` }));
  } else if (interval) {
    const [p] = one.points;
    group.append(drawn("path", { class: "whisker", d: `M${x(p[0])} ${y(p[2])}V${y(p[3])}` }));
  }
  if (one.joined) {
    for (const part of stretches(one.points)) group.append(drawn("path", { class: "curve", d: `M${through(part, (p) => p[1]).join("L")}` }));
  }
  if (one.marked || one.points.length === 1) {
    for (const p of one.points) group.append(drawn("circle", { class: "dot", cx: x(p[0]), cy: y(p[1]), r: 3.2 }));
  }
  svg.append(group);
}

/** Points that follow closely on one another: a line over a stretch in which nothing was measured would claim too much. */
function stretches(points) {
  const gaps = points.slice(1).map((p, at) => p[0] - points[at][0]);
  const usual = [...gaps].sort((a, b) => a - b)[Math.floor(gaps.length / 2)];
  const parts = points.length ? [[points[0]]] : [];
  points.slice(1).forEach((p, at) => (gaps[at] > 3.5 * usual ? parts.push([p]) : parts.at(-1).push(p)));
  return parts;
}

function bands(svg, chart, x, height) {
  chart.bands.forEach((band, at) => {
    const left = x(band.start), wide = Math.max(0, x(band.end) - left);
    if (at % 2 === 0) svg.append(drawn("rect", { class: "band", x: left, y: EDGE.top, width: wide, height: height - EDGE.top - EDGE.bottom }));
    if (wide > 6.3 * band.phase.length) {
      svg.append(drawn("text", { class: "bandname", x: left + wide / 2, y: EDGE.top - 6, "text-anchor": "middle" }, band.phase));
    }
  });
}

function axes(svg, chart, x, y, sides, up, height) {
  for (const value of ticks(up, 4)) {
    svg.append(drawn("path", { class: "grid", d: `M${EDGE.left} ${y(value)}H${WIDE - EDGE.right}` }),
      drawn("text", { x: EDGE.left - 7, y: y(value) + 4, "text-anchor": "end" }, chart.percent ? percent(value, 0) : short(value)));
  }
  const along = ticks(sides, 5).filter((value) => !chart.whole || Number.isInteger(value));
  for (const value of along) svg.append(drawn("text", { x: x(value), y: height - EDGE.bottom + 15, "text-anchor": "middle" }, chart.diagonal ? short(value) : value.toLocaleString("en")));
  svg.append(drawn("text", { x: WIDE - EDGE.right, y: height - 3, "text-anchor": "end" }, chart.x));
}

/** Round values within a span. */
function ticks([low, high], about) {
  const raw = (high - low) / about, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= raw) * power;
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + 1e-9 * step; at += 1) found.push(Number((at * step).toPrecision(12)));
  return found;
}

function extent(values) {
  const known = values.filter((value) => value !== null && value !== undefined);
  return known.length ? [Math.min(...known), Math.max(...known)] : [0, 1];
}

function padded([low, high]) {
  const room = high > low ? 0.06 * (high - low) : Math.abs(low) * 0.1 || 1;
  return [low - room, high + room];
}

function hover(svg, chart, x, y, height) {
  const rule = drawn("path", { class: "rule", visibility: "hidden" });
  svg.append(rule);
  const say = chart.percent ? (value) => percent(value) : short;
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect(), at = ((event.clientX - box.left) / box.width) * WIDE;
    const near = chart.series.map((one) => nearest(one.points, at, x)).filter((p) => p.point);
    if (!near.length) return;
    const best = near.reduce((a, b) => (b.away < a.away ? b : a)).point;
    rule.setAttribute("d", `M${x(best[0])} ${EDGE.top}V${height - EDGE.bottom}`);
    rule.setAttribute("visibility", "visible");
    const lines = chart.series.map((one, which) => [one, which, nearest(one.points, x(best[0]), x)]).filter(([, , p]) => p.point && p.away < 8);
    const table = element("table", {}, lines.map(([one, which, p]) => element("tr", {},
      element("td", { class: `s${which % 6}` }, one.name),
      element("td", {}, say(p.point[1]) + (p.point.length === 4 ? ` (${say(p.point[2])} to ${say(p.point[3])})` : "")))));
    showTip([element("div", { class: "soft" }, `${chart.x} ${chart.diagonal ? short(best[0]) : Math.round(best[0]).toLocaleString("en")}`), table],
      { left: event.clientX + 14, top: event.clientY - 10, bottom: event.clientY + 6 });
  });
  svg.addEventListener("pointerleave", () => { rule.setAttribute("visibility", "hidden"); hideTip(); });
}

function nearest(points, at, x) {
  let found = null, away = Infinity;
  for (const point of points) {
    const gap = Math.abs(x(point[0]) - at);
    if (gap < away) [found, away] = [point, gap];
  }
  return { point: found, away };
}
