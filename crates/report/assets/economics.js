// The costs, the gates and the choice of the verdict, as crates/eval computes them (economics.rs, gates.rs, verdict.rs), so that prices
// and volume can be moved in the page. Pure functions; `cargo xtask browser` holds them against the program's own results.
"use strict";
const weigh = (() => {
  // Money a token; null without the prices of prompt and completion.
  const moneyPrices = given => given.input_price == null || given.output_price == null ? null : {
    prompt: given.input_price / 1e6,
    cached: given.cached_input_price == null ? NaN : given.cached_input_price / 1e6,
    write: (given.cache_write_price ?? given.input_price) / 1e6,
    minimum: given.cache_minimum_tokens ?? 0,
    completion: given.output_price / 1e6,
    tuned: given.tuned_multiplier ?? 1,
    hosting: 0,
  };

  // Prices relative to that of an uncached prompt token.
  const relativePrices = given => {
    const relative = price => price == null || !(given.input_price > 0) ? null : price / given.input_price;
    return {
      prompt: 1,
      cached: relative(given.cached_input_price) ?? 0,
      write: relative(given.cache_write_price) ?? 1,
      minimum: given.cache_minimum_tokens ?? 0,
      completion: relative(given.output_price) ?? 1,
      tuned: given.tuned_multiplier ?? 1,
      hosting: 0,
    };
  };

  const request = (prices, tokens, cache) => {
    const cacheable = tokens.prompt < prices.minimum ? 0 : Math.min(tokens.cached, tokens.prompt);
    const each = cache === "warm" ? prices.cached : prices.write;
    return (tokens.prompt - cacheable) * prices.prompt + (cacheable > 0 ? cacheable * each : 0)
      + tokens.completion * prices.completion;
  };

  // H / V, 0 where either is unknown.
  const hosting = (given, unknown) => {
    if (given.hosting_per_month === 0) return 0;
    if (given.hosting_per_month == null) { unknown.push("hosting_per_month"); return 0; }
    if (given.requests_per_month == null) { unknown.push("requests_per_month (to share the hosting)"); return 0; }
    return given.hosting_per_month / given.requests_per_month;
  };

  // S: what fine-tuning took beyond the prompt; null where unknown.
  const setup = (arms, given, unit, unknown) => {
    const tuned = arms.fine_tune.effort, prompt = arms.in_context.effort;
    if (unit !== "money") {
      const operations = tuned.flops > 0 ? tuned.flops - prompt.flops : null;
      const forward = 2 * arms.parameters;
      const found = unit === "flops" ? operations
        : operations != null && forward > 0 ? operations / forward : null;
      if (found == null) unknown.push("operations of the training");
      return found;
    }
    const labels = tuned.labels - prompt.labels;
    let labelling = 0;
    if (given.price_per_label != null) labelling = labels * given.price_per_label;
    else if (labels > 0) unknown.push("price_per_label");
    if (given.training_price == null) { unknown.push("training_price"); return null; }
    return tuned.tokens * given.training_price / 1e6 - prompt.tokens * given.input_price / 1e6 + labelling;
  };

  // The interval of V*: the setup over the ends of Student's interval of what a timed request saves. An end of null is "never".
  const interval = (facts, prices, cache, spent, mean) => {
    if (facts.student == null) return null;
    const saved = facts.timed.map(([prompt, tuned]) => request(prices, prompt, cache) - prices.tuned * request(prices, tuned, cache));
    if (!saved.every(Number.isFinite)) return null;
    const average = saved.reduce((sum, value) => sum + value, 0) / saved.length;
    const variance = saved.reduce((sum, value) => sum + (value - average) ** 2, 0) / (saved.length - 1);
    const half = facts.student * Math.sqrt(variance / saved.length);
    const requests = saving => saving > 0 ? spent / saving : null;
    return [requests(mean + (average + half) - average), requests(mean + (average - half) - average)];
  };

  const breakEven = (facts, given, unit, cache) => {
    const arms = facts.economics, unknown = [];
    let prices;
    if (unit === "money") {
      prices = moneyPrices(given);
      if (!prices) return null;
      const cachedTokens = arms.in_context.tokens.cached > 0 || arms.fine_tune.tokens.cached > 0;
      if (cache === "warm" && given.cached_input_price == null && cachedTokens) return null;
      prices.hosting = hosting(given, unknown);
      if (given.tuned_multiplier == null) unknown.push("tuned_multiplier");
    } else if (unit === "full_price_tokens") {
      prices = relativePrices(given);
    } else {
      const forward = 2 * arms.parameters;
      prices = { prompt: forward, cached: 0, write: forward, minimum: 0, completion: forward, tuned: 1, hosting: 0 };
    }
    if (unit !== "money" && arms.parameters === 0) unknown.push("parameters of the model");
    const spent = setup(arms, given, unit, unknown);
    const inContext = request(prices, arms.in_context.tokens, cache);
    const fineTune = prices.tuned * request(prices, arms.fine_tune.tokens, cache) + prices.hosting;
    const saved = inContext - fineTune;
    let payback, requests = null;
    if (saved <= 0) payback = "never";
    else if (spent == null) payback = "unknown";
    else if (spent <= 0) { payback = "at_once"; requests = 0; }
    else { payback = "after"; requests = spent / saved; }
    const months = requests != null && given.requests_per_month != null ? requests / given.requests_per_month : null;
    return {
      unit, cache, in_context: inContext, fine_tune: fineTune, setup: spent, payback, requests, months, unknown,
      interval: payback === "after" ? interval(facts, prices, cache, spent, saved) : null,
      lower_bound: requests != null && unknown.length > 0,
    };
  };

  // Until the task changes or the base model is shut down, whichever is first; null where neither is given. Where only the shutdown
  // is, the life may be shorter.
  const life = given => {
    const task = given.task_life_months, base = given.base_months;
    if (task == null && base == null) return null;
    const endsWithBase = base != null && (task == null || base < task);
    return { months: endsWithBase ? Math.max(base, 0) : task, ends_with_base: endsWithBase, at_most: task == null };
  };

  // A bound that is reached decides; one that is reached only by a lower bound on the cost does not.
  const covers = (reached, lowerBound) => !reached ? "no" : lowerBound ? "undecided" : "yes";

  const agreed = (states, complete) => {
    if (!states.length) return "undecided";
    const state = states.reduce((left, right) => left === right ? left : "undecided");
    return state === "yes" && !complete ? "undecided" : state;
  };

  // Everything that follows from volume and prices.
  const decide = (facts, given) => {
    const cases = [];
    for (const unit of ["money", "full_price_tokens", "flops"])
      for (const cache of ["cold", "warm"]) {
        const found = breakEven(facts, given, unit, cache);
        if (found) cases.push(found);
      }
    const unit = cases.some(c => c.unit === "money" && c.payback !== "unknown") ? "money" : "full_price_tokens";
    const deciding = cases.filter(c => c.unit === unit);
    const complete = deciding.length === 2;
    const main = deciding.find(c => c.cache === "warm") ?? deciding[0];
    const lasts = life(given);
    const volume = given.requests_per_month == null || lasts == null ? null : given.requests_per_month * lasts.months;
    // A life that may be shorter closes a gate, but does not open it.
    const open = c => c.lower_bound || lasts.at_most;
    const stable = agreed(deciding.map(c => {
      if (c.payback === "never") return "no";
      if (c.payback === "at_once" && !c.lower_bound) return "yes";
      if (c.payback === "unknown" || c.months == null || lasts == null) return "undecided";
      return covers(c.months <= lasts.months, open(c));
    }), complete);
    const long = agreed(deciding.map(c => {
      if (c.payback === "never") return "no";
      if (c.payback === "at_once" && !c.lower_bound) return "yes";
      if (c.requests == null || volume == null) return "undecided";
      return covers(c.requests <= volume, open(c));
    }), complete);
    const gates = { stable, long_and_expensive: long, enough_data: facts.enough_data };
    const closed = Object.values(gates).includes("no");
    let choice = "undecided";
    if (facts.floor_wins) choice = "floor";
    else if (facts.floor_open) choice = "undecided";
    else if (facts.outcome === "fine_tune_better") choice = closed ? "in_context" : "fine_tune";
    else if (facts.outcome === "in_context_better") choice = "in_context";
    else if (facts.outcome === "equivalent") choice = "equivalent";
    return { unit, cases, deciding, main, life: lasts, volume, gates, choice };
  };

  return { decide };
})();
