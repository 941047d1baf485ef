// One episode as a sheet: what it came to, the course of its value, and its turns.
const loaded = new Map(); // the episodes shown last, as data

function episodeData(which) {
  if (!loaded.has(which)) {
    if (loaded.size > 40) loaded.delete(loaded.keys().next().value);
    loaded.set(which, embedded(`e${which}`));
  }
  return loaded.get(which);
}

/** The sheet of an episode; `row` is what the list knows of it. */
function sheet(which, row) {
  const data = episodeData(which);
  const mark = element("span", { class: `mark ${row.success ? "won" : "lost"}` }, row.success ? "success" : "failed");
  const node = element("article", { class: "sheet", "data-episode": which },
    element("div", { class: "crown" }, element("h2", {}, `${row.origin}, episode ${row.index}`), mark),
    facts(row), course(data, row));
  data.turns.forEach((turn, at) => node.append(turnCard(turn, at, data)));
  if (data.final) node.append(lastCard(data.final, row));
  return node;
}

function facts(row) {
  const fact = (name, value) => element("span", {}, `${name} `, element("b", {}, value));
  return element("div", { class: "facts" },
    fact("return", short(row.return)), fact("turns", String(row.turns)), fact("environment", row.env), fact("seed", String(row.seed)),
    row.args === "{}" ? null : fact("arguments", row.args),
    row.version < 0 || !row.sources.includes("model") ? null : fact("played after", count(row.version, "update")),
    row.truncated ? fact("ended by", "a limit") : null,
    row.unparsed ? fact("replies that did not parse", String(row.unparsed)) : null,
    row.refused ? fact("illegal actions", String(row.refused)) : null,
    row.advantage === null ? null : fact("largest advantage", number(row.advantage, 3, true)),
    row.gap === null ? null : fact("critic off by", number(row.gap)));
}

/** Value before each reply, Q after it and the return that followed, over the turns. */
function course(data, row) {
  const judged = data.turns.map((turn, at) => [turn, at]).filter(([turn]) => turn.tokens.length);
  if (judged.length < 2) return null;
  const points = (pick) => judged.map(([turn, at]) => [at, pick(turn)]).filter(([, value]) => value !== null);
  const series = [
    { name: "V before the reply", points: points((turn) => token(turn.tokens[0]).value), marked: true, joined: true },
    { name: "Q of the reply", points: points((turn) => token(turn.tokens.at(-1)).q), marked: true, joined: true },
    { name: "return that followed", points: points((turn) => turn.observed), marked: true, joined: true },
  ].filter((one) => one.points.length);
  const chart = { title: `${row.origin} ${row.index}`, note: "value over the turns", series, x: "turn", bands: [], percent: false, level: null, whole: true };
  const key = element("ul", { class: "key" }, series.map((one, at) => element("li", { class: `s${at}` }, one.name)));
  return element("div", { class: "course" }, plot(chart, 150), key);
}

function turnCard(turn, at, data) {
  const same = at > 0 && data.turns[at - 1].prompt === turn.prompt;
  const words = element("div", { class: "words" }, element("div", { class: "nth" }, `turn ${at}`),
    same ? element("p", { class: "soft small" }, "told the same as before") : prompt(turn.prompt), reply(turn), chips(turn));
  return card(turn.image, words, `what the agent saw at turn ${at}`);
}

function lastCard(final, row) {
  const end = row.truncated ? "after the last turn; the episode was cut" : "after the last turn";
  return card(final.image, element("div", { class: "words" }, element("div", { class: "nth" }, end), prompt(final.prompt)), end);
}

function card(which, words, told) {
  const node = element("section", { class: `turn${which === -1 ? " bare" : ""}` });
  if (which >= 0) {
    const open = () => enlarge(which, told);
    node.append(element("div", {}, element("button", { type: "button", class: "seen", title: "enlarge", click: open }, picture(which, "p", { class: "seen", alt: told }))));
  } else if (which === -2) {
    node.append(element("div", { class: "absent" }, "picture left out"));
  }
  node.append(words);
  return node;
}

function prompt(text) {
  const said = element("p", { class: "prompt" }, text);
  const long = text.length > 700 || text.split("\n").length > 9;
  if (!long) return said;
  said.classList.add("long");
  const more = element("button", { type: "button", class: "more", click: () => {
    more.textContent = said.classList.toggle("long") ? "show all" : "show less";
  } }, "show all");
  return element("div", {}, said, more);
}

function chips(turn) {
  const chip = (kind, ...parts) => element("span", { class: `chip ${kind}` }, ...parts);
  const reward = (turn.reward > 0 ? "+" : "") + short(turn.reward);
  return element("div", { class: "chips" },
    turn.parsed ? chip("", "executed ", element("code", {}, turn.action)) : chip("bad", "did not parse, nothing executed"),
    turn.parsed && !turn.ok ? chip("bad", "illegal") : null,
    chip(turn.reward > 0 ? "good" : "", `reward ${reward}`),
    turn.source ? chip("", `by ${turn.source}`) : null,
    turn.observed === null ? null : element("span", { class: "chip", title: "discounted, in return ranges, as Q is" }, `return from here ${number(turn.observed)}`));
}

function enlarge(which, told) {
  const image = picture(which, "p", { alt: told });
  image.addEventListener("load", () => {
    const factor = Math.max(1, Math.floor(Math.min((innerWidth * 0.8) / image.naturalWidth, (innerHeight * 0.75) / image.naturalHeight)));
    image.style.width = `${image.naturalWidth * factor}px`;
  });
  const box = element("dialog", { class: "large", click: () => box.close(), close: () => box.remove() }, image);
  document.body.append(box);
  box.showModal();
}
