// A reply token by token: its heat, whether the filter leaves it out, and what is told of it under the pointer.
const FULL = 0.25; // advantage, in return ranges, at which a colour is at its strongest
const STRONGEST = 62; // per cent of the colour

/** How tokens are shown now. */
const heat = { by: "advantage", margin: 0, span: [0, 1] };

/** A token as `page.py` wrote it. */
function token([text, advantage, q, value, logProb, slack, behaviour, others]) {
  return { text, advantage, q, value, logProb, slack, behaviour, others };
}

function leftOut(one) {
  return one.advantage !== null && one.advantage <= heat.margin * one.slack;
}

/** The spans of a reply, each knowing its token. */
function reply(turn) {
  const line = element("p", { class: "reply" });
  if (!turn.tokens.length) {
    line.append(turn.reply || element("span", { class: "soft" }, "(an empty reply)"));
    return line;
  }
  for (const values of turn.tokens) {
    const one = token(values);
    const span = element("span", { class: "token" }, visible(one.text));
    span.token = one;
    line.append(span);
  }
  return line;
}

/** A line's end is shown by a sign, and still ends the line. */
function visible(text) {
  if (text === "") return element("span", { class: "sign" }, "\u2205");
  return text.includes("\n") ? text.replaceAll("\n", "\u21b5\n") : text;
}

/** Colour every token below a node as the heat says; gives how many there are, and how many are left out. */
function colour(node) {
  let all = 0, out = 0;
  for (const span of node.querySelectorAll(".token")) {
    const one = span.token, away = leftOut(one);
    all += 1;
    out += away;
    span.classList.toggle("out", away);
    span.style.backgroundColor = tint(one);
  }
  return [all, out];
}

function tint(one) {
  if (heat.by === "none") return "";
  const value = one[heat.by];
  if (value === null) return "";
  const [low, high] = heat.span;
  const share = heat.by === "advantage" ? Math.abs(value) / FULL : (value - low) / (high - low || 1);
  const name = heat.by !== "advantage" ? "--level" : value > 0 ? "--better" : "--worse";
  return `color-mix(in srgb, var(${name}) ${(STRONGEST * Math.min(1, Math.max(0, share))).toFixed(1)}%, transparent)`;
}

/** What the box beside a token says. */
function about(one) {
  const line = (name, value) => element("tr", {}, element("td", { class: "soft" }, name), element("td", {}, value));
  const chance = (logProb) => `${number(logProb, 2)}  (${percent(Math.exp(logProb))})`;
  const found = [
    element("h3", {}, JSON.stringify(one.text)),
    element("table", {},
      line("advantage A", number(one.advantage, 3, true)), line("Q of the token", number(one.q)), line("V of the state", number(one.value)),
      line("log-probability", one.logProb === null ? "unknown" : chance(one.logProb)),
      one.behaviour === null ? null : line("\u2026 when it was said", chance(one.behaviour)),
      line("the filter", leftOut(one) ? "leaves it out" : "keeps it")),
  ];
  if (one.others.length) found.push(element("div", { class: "others" }, alternatives(one)));
  return found;
}

function alternatives(one) {
  const rows = one.others.map(([text, logProb, q]) => {
    const bar = element("i");
    bar.style.width = `${100 * Math.exp(logProb)}%`;
    return element("tr", { class: text === one.text ? "said" : null }, element("td", {}, JSON.stringify(text)),
      element("td", {}, element("span", { class: "likely" }, bar)), element("td", {}, percent(Math.exp(logProb))),
      element("td", { class: "soft" }, q === null ? "" : `Q ${number(q)}`));
  });
  return [element("div", { class: "soft" }, "likeliest here"), element("table", {}, rows)];
}

/** Show the box for tokens below a node: while the pointer is on one, or until another is touched. */
function listen(node) {
  let held = null;
  const show = (span) => {
    held?.classList.remove("held");
    held = span;
    span.classList.add("held");
    showTip(about(span.token), span.getClientRects()[0]);
  };
  const hide = () => {
    held?.classList.remove("held");
    held = null;
    hideTip();
  };
  node.addEventListener("pointerover", (event) => {
    const span = event.target.closest(".token");
    if (span) show(span);
    else if (held) hide();
  });
  node.addEventListener("pointerleave", hide);
  node.forget = hide;
  addEventListener("scroll", () => { if (held) show(held); }, { passive: true }); // the box goes with its token
}
