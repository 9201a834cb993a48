"use strict";
(() => {
  const byId = id => document.getElementById(id);
  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) if (value != null) node.setAttribute(key, value);
    node.append(...children.filter(child => child != null));
    return node;
  };

  // ---- numbers as people read them

  const grouped = value => Math.round(value).toLocaleString("en-US");
  const number = value => {
    const size = Math.abs(value);
    if (value === 0) return "0";
    if (size >= 1e6) return ["", " million", " billion", " trillion"].map((unit, i) => [size / 10 ** (3 * (i + 1)), unit])
      .filter(([v]) => v >= 1).map(([v, unit]) => `${Number(v.toPrecision(3))}${unit}`).slice(1).pop() ?? value.toExponential(2);
    if (size >= 100) return grouped(value);
    if (size >= 0.1) return String(Number(value.toPrecision(3)));
    return String(Number(value.toPrecision(2)));
  };

  // ---- volume and prices

  const facts = JSON.parse(byId("economics-data").textContent);
  const given = { ...facts.given };
  // Key, name, lowest and highest power of ten of the slider, what it means where nothing is given (if not: unknown).
  const LEVERS = [
    ["requests_per_month", "Requests a month", 1, 9],
    ["task_life_months", "Months the task stays as it is", -1, 2.5],
    ["input_price", "Price of a million prompt tokens", -3, 2.5],
    ["output_price", "… of a million answer tokens", -3, 2.5],
    ["cached_input_price", "… of a million cached tokens", -3, 2.5],
    ["cache_write_price", "… of a million cache writes", -3, 2.5, "uncached"],
    ["training_price", "… of a million training tokens", -3, 2.5],
    ["tuned_multiplier", "A tuned model’s token costs, times", -1, 1],
    ["hosting_per_month", "Hosting of a tuned model, a month", 0, 5],
    ["price_per_label", "Price of a label", -3, 2],
    ["cache_minimum_tokens", "Fewest tokens that are cached", 1, 5, "none"],
    ["base_months", "Months until the base shuts down", -1, 2.5],
  ];
  const STEPS = 100;

  const buildLevers = () => {
    const form = byId("levers");
    const more = make("details", {}, make("summary", {}, "Further prices"));
    const first = make("fieldset", {}, make("legend", {}, "Volume and prices"));
    LEVERS.forEach(([key, name, low, high, absent = "unknown"], index) => {
      const slider = make("input", { type: "range", min: low * STEPS, max: high * STEPS, step: 1, "aria-label": name, id: `slide-${key}` });
      const box = make("input", { type: "number", min: 0, step: "any", id: `type-${key}`, placeholder: absent });
      const show = () => {
        const value = given[key];
        slider.value = value > 0 ? Math.log10(value) * STEPS : value === 0 ? low * STEPS : (low + high) / 2 * STEPS;
        slider.setAttribute("aria-valuetext", value == null ? absent : number(value));
        slider.style.opacity = value == null ? 0.45 : 1;
        // Months are counted from a date: nobody wrote their decimals.
        const written = key === "base_months" && value != null ? number(value) : value;
        if (document.activeElement !== box) box.value = written ?? "";
      };
      slider.addEventListener("input", () => {
        given[key] = Number((10 ** (slider.value / STEPS)).toPrecision(2));
        show(); update();
      });
      box.addEventListener("input", () => {
        const value = box.value.trim() === "" ? null : Number(box.value);
        const positive = ["requests_per_month", "task_life_months", "tuned_multiplier"].includes(key);
        given[key] = value != null && Number.isFinite(value) && (positive ? value > 0 : value >= 0) ? value : null;
        show(); update();
      });
      shows.push(show);
      const lever = make("div", { class: "lever" }, make("label", { for: `type-${key}` }, name), box, slider);
      (index < 4 ? first : more).append(lever);
      show();
    });
    const reset = make("button", { type: "button" }, "As stored");
    reset.addEventListener("click", () => { Object.assign(given, facts.given); shows.forEach(show => show()); update(); });
    form.addEventListener("submit", event => event.preventDefault());
    more.open = window.matchMedia("(min-width: 44rem)").matches;
    form.replaceChildren(first, more, make("p", {}, reset));
    more.addEventListener("toggle", () => shows.forEach(show => show()));
  };
  const shows = [];

  const HEADLINES = {
    in_context: "Prompt it.", fine_tune: "Train it.", equivalent: "Either will do.",
    undecided: "The data cannot tell yet.", floor: "Neither: no language model is needed.",
  };
  const UNITS = { money: "in money", full_price_tokens: "in full-price prompt tokens (no prices)", flops: "in operations" };

  // The interval of the break-even, where requests were timed one by one.
  const spread = ({ interval }) => {
    if (interval?.[0] == null) return "";
    const [low, high] = interval.map(end => end == null ? "never" : number(end));
    return low === high ? "" : `, ${low} to ${high}`;
  };

  const describe = main => {
    if (!main) return "unknown";
    const least = main.lower_bound ? "at least " : "";
    if (main.payback === "never") return "never: a fine-tuned request is not cheaper";
    if (main.payback === "at_once") return `${least}from the first request`;
    if (main.payback === "unknown") return `unknown: ${main.unknown.join(", ")}`;
    const months = main.months == null ? "" : ` (${number(main.months)} months)`;
    return `after ${least}${number(main.requests)} requests${spread(main)}${months}`;
  };

  const update = () => {
    const result = weigh.decide(facts, given);
    const gate = (name, state) => [make("dt", {}, name), make("dd", { "data-state": state }, make("b", {}, state))];
    byId("live").replaceChildren(
      make("div", { class: "then" }, HEADLINES[result.choice]),
      result.choice === facts.stored ? make("div", { class: "soft small" }, "as stored") : make("div", { class: "soft small" }, "other than stored"),
      make("dl", {},
        ...gate("Stable", result.gates.stable),
        ...gate("Long and expensive", result.gates.long_and_expensive),
        ...gate("Enough data", result.gates.enough_data),
        make("dt", {}, "Pays back"), make("dd", {}, describe(result.main)),
        make("dt", {}, result.life?.ends_with_base ? "Requests until the base model’s shutdown" : "Requests in its life"), make("dd", {}, result.volume == null ? "unknown" : number(result.volume)),
        make("dt", {}, "Counted"), make("dd", {}, UNITS[result.unit])),
    );
    byId("cost").innerHTML = costs(result);
  };

  // ---- cost against volume

  const costs = ({ deciding, volume, unit }) => {
    // As wide as its place, so that its letters have the size of the page's.
    const width = Math.min(560, Math.max(300, byId("cost").clientWidth || 560)), [height, left, right, top, bottom] = [320, 62, 84, 22, 42];
    const setup = deciding.map(c => Math.max(c.setup ?? 0, 0));
    const even = deciding.map(c => c.requests).filter(v => v > 0);
    const span = [...even, ...(volume ? [volume] : []), 1000];
    const x0 = Math.max(0, Math.floor(Math.log10(Math.min(...span))) - 1), x1 = Math.ceil(Math.log10(Math.max(...span))) + 0.5;
    const prompt = n => deciding.map(c => n * c.in_context), tuned = n => deciding.map((c, i) => setup[i] + n * c.fine_tune);
    const ends = [...prompt(10 ** x0), ...tuned(10 ** x0), ...prompt(10 ** x1), ...tuned(10 ** x1)].filter(v => v > 0);
    if (!ends.length) return "<p class='soft small'>No cost is known.</p>";
    const y0 = Math.floor(Math.log10(Math.min(...ends))), y1 = Math.ceil(Math.log10(Math.max(...ends)));
    const x = n => left + (Math.log10(n) - x0) / (x1 - x0) * (width - left - right);
    const y = c => height - bottom - (Math.log10(Math.max(c, 10 ** y0)) - y0) / Math.max(y1 - y0, 1) * (height - top - bottom);
    const power = e => e < 0 && e >= -3 ? (10 ** e).toFixed(-e) : e < 0 || e > 15 ? `10${[...String(e)].map(d => "⁰¹²³⁴⁵⁶⁷⁸⁹"[d] ?? "⁻").join("")}` : e < 3 ? String(10 ** e)
      : `${10 ** (e % 3)}${["", "k", "M", "G", "T", "P"][Math.floor(e / 3)]}`;
    let svg = "";
    const text = (cls, tx, ty, anchor, words) => `<text class="${cls}" x="${tx.toFixed(1)}" y="${ty.toFixed(1)}" text-anchor="${anchor}">${words}</text>`;
    for (let e = Math.ceil(x0); e <= x1; e++)
      svg += `<line class="grid" x1="${x(10 ** e)}" x2="${x(10 ** e)}" y1="${top}" y2="${height - bottom}"/>` + text("tick", x(10 ** e), height - bottom + 17, "middle", power(e));
    const step = Math.ceil((y1 - y0) / 6);
    for (let e = y0; e <= y1; e += step)
      svg += `<line class="grid" x1="${left}" x2="${width - right}" y1="${y(10 ** e)}" y2="${y(10 ** e)}"/>` + text("tick", left - 7, y(10 ** e) + 4, "end", power(e));
    svg += text("axis", 0, 10, "start", unit === "money" ? "total cost, in the currency of the prices" : "total cost, full-price tokens") + text("axis", width - right, height - 5, "end", "requests");
    if (even.length) {
      const from = x(Math.max(Math.min(...even), 10 ** x0)), to = x(Math.min(Math.max(...even), 10 ** x1));
      svg += `<rect class="region" x="${from - 3}" y="${top}" width="${Math.max(to - from, 0) + 6}" height="${height - top - bottom}"/>`;
      svg += text("note", to + 7, top + 13, "start", "break-even");
    }
    if (volume >= 10 ** x0 && volume <= 10 ** x1)
      svg += `<line class="volume" x1="${x(volume)}" x2="${x(volume)}" y1="${top}" y2="${height - bottom}"/>` + text("note", x(volume) - 6, height - bottom - 8, "end", "expected");
    const grid = Array.from({ length: 49 }, (_, i) => 10 ** (x0 + (x1 - x0) * i / 48));
    const draw = (cls, total) => {
      const points = side => grid.map(n => `${x(n).toFixed(1)} ${y(side(...total(n))).toFixed(1)}`);
      const high = points(Math.max), low = points(Math.min);
      svg += `<path class="band ${cls}" d="M${high.join("L")}L${low.reverse().join("L")}Z"/><path class="line ${cls}" d="M${high.join("L")}"/>`;
    };
    draw("ic", prompt); draw("ft", tuned);
    const last = 10 ** x1, at = [y(Math.max(...prompt(last))), y(Math.max(...tuned(last)))];
    if (Math.abs(at[0] - at[1]) < 16) { const up = at[0] <= at[1] ? 0 : 1; at[up] -= 8; at[1 - up] += 8; }
    svg += text("name ic", width - right + 7, at[0] + 4, "start", "In-context") + text("name ft", width - right + 7, at[1] + 4, "start", "Fine-tuned");
    return `<svg class="chart" role="img" viewBox="0 0 ${width} ${height}" aria-label="Cost of both arms against requests; the break-even is in the text above">${svg}</svg>`;
  };

  // ---- the items on which the arms differ

  const packed = JSON.parse(byId("items-data").textContent);
  const textAt = place => place == null ? null : packed.texts[place];
  const items = packed.items.map(([id, origin, input, target, answers, prompts, supervised]) => ({
    id, input, prompts,
    origin: origin && [textAt(origin[0]), origin[1]].filter(part => part != null).join(":"),
    target: textAt(target),
    answers: answers.map(given => given && { answer: textAt(given[0]), score: given[1], percent: given[2] }),
    supervised: textAt(supervised),
  }));
  const ARMS = [["In-context", "ic"], ["Fine-tuned", "ft"], ["Floor", "fl"]];
  const PAGE = 25;
  let limit = PAGE;

  const right = given => given != null && given.score === 1;
  const matches = item => {
    const who = byId("who").value, [prompt, tuned] = item.answers;
    if (who === "ft" && !(right(tuned) && !right(prompt))) return false;
    if (who === "ic" && !(right(prompt) && !right(tuned))) return false;
    if (who === "none" && (right(prompt) || right(tuned))) return false;
    const gold = byId("gold")?.value;
    if (gold && item.target !== gold) return false;
    const words = byId("words").value.trim().toLowerCase();
    return !words || [item.input, item.target, item.id, ...item.answers.map(a => a?.answer)].some(text => text?.toLowerCase().includes(words));
  };

  const answer = (given, index) => {
    if (!given) return null;
    const [name, cls] = ARMS[index];
    const score = given.score !== 0 && given.score !== 1 ? ` (${given.score.toFixed(2)})` : "";
    const sure = given.percent == null ? "" : ` ${given.percent}%`;
    return make("span", { class: cls }, make("b", {}, `${name} `),
      make("span", { class: given.score === 0 ? "wrong" : null }, given.answer || "(empty)"), score,
      make("span", { class: "soft" }, sure), given.score === 1 ? " ✓" : "");
  };

  // A line of -1 is the item's own input.
  const text = (lines, input) => lines.map(line => line < 0 ? input : packed.texts[line]).join("");

  // The prompt is written when it is opened: hundreds of pages of prompts are no work for a browser that nobody asked to show them.
  const prompts = item => {
    const details = make("details", {}, make("summary", {}, "Exact prompts"));
    details.addEventListener("toggle", () => {
      if (details.childElementCount > 1) return;
      item.prompts.forEach((lines, arm) => {
        if (!lines) return;
        details.append(make("h3", { class: "small" }, `${ARMS[arm][0]}: the whole prompt`));
        const block = make("pre", { tabindex: "0" }, text(lines, item.input));
        if (arm === 1 && item.supervised) block.append(make("mark", { title: "what training supervises" }, item.supervised));
        details.append(block);
      });
    });
    return item.prompts.some(Boolean) ? details : null;
  };

  const list = () => {
    const found = items.filter(matches);
    byId("list").replaceChildren(...found.slice(0, limit).map(item => make("li", {},
      make("p", { class: "input" }, item.input ?? item.id),
      make("div", { class: "answers" }, item.target == null ? null : make("span", {}, make("span", { class: "soft" }, "Right: "), item.target),
        ...item.answers.map(answer), make("span", { class: "soft" }, item.origin ?? item.id)),
      prompts(item))));
    byId("shown").textContent = `${Math.min(limit, found.length)} of ${found.length} shown`;
    byId("more").hidden = found.length <= limit;
  };

  // What scrolls sideways can be reached and scrolled with the keyboard.
  const reach = () => document.querySelectorAll(".wide").forEach(box => {
    if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0; else box.removeAttribute("tabindex");
  });

  buildLevers();
  update();
  reach();
  let drawn = byId("cost").clientWidth;
  window.addEventListener("resize", () => {
    reach();
    if (byId("cost").clientWidth !== drawn) { drawn = byId("cost").clientWidth; update(); }
  });
  document.addEventListener("toggle", reach, true);
  if (items.length) {
    byId("filters").hidden = false;
    byId("filters").addEventListener("input", () => { limit = PAGE; list(); });
    byId("filters").addEventListener("submit", event => event.preventDefault());
    byId("more").addEventListener("click", () => { limit += PAGE; list(); });
    list();
  }
})();
