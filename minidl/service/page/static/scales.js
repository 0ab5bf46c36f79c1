// From values to places in a drawing: scales, round ticks, smoothing, and no more points than pixels.

/** 1, 2 or 5 times a power of ten, near `rough`. */
export function roundStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => rough / power <= factor * 1.5);
}

/** A scale that holds all of `values`, from pixel `start` to pixel `end`. */
export function scaleOf(values, start, end, { log = false, margin = 0.05, whole = false } = {}) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) [low, high] = log ? [0.1, 1] : [0, 1];
  if (log) return logarithmic(low, high, start, end);
  if (high - low <= 1e-9 * Math.max(Math.abs(low), Math.abs(high))) {
    const around = Math.abs(high) / 10 || 1;
    [low, high] = [low >= 0 ? Math.max(low - around, 0) : low - around, high + around];
  } else {
    const beyond = (high - low) * margin;
    // Nothing below zero is shown of what is never negative.
    low = low >= 0 ? Math.max(low - beyond, 0) : low - beyond;
    high += beyond;
  }
  const place = (value) => start + ((value - low) / (high - low)) * (end - start);
  const back = (at) => low + ((at - start) / (end - start)) * (high - low);
  const rough = roundStep((high - low) / (Math.abs(end - start) > 320 ? 5 : 4));
  const step = whole ? Math.max(1, rough) : rough;
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) {
    ticks.push(Number((i * step).toPrecision(12)));
  }
  return { place, back, ticks };
}

function logarithmic(low, high, start, end) {
  let [from, to] = [Math.log10(low), Math.log10(high)];
  const beyond = Math.max((to - from) * 0.05, 0.02);
  [from, to] = [from - beyond, to + beyond];
  const place = (value) => start + ((Math.log10(value) - from) / (to - from)) * (end - start);
  const back = (at) => 10 ** (from + ((at - start) / (end - start)) * (to - from));
  // Over many decades some of the powers; over few also 2 and 5; within one as on a linear scale.
  const every = Math.max(1, Math.ceil((to - from) / 6));
  const factors = to - from > 2 ? [1] : [1, 2, 5];
  let ticks = [];
  for (let power = Math.floor(from); power <= to; power++) {
    if (power % every === 0) ticks.push(...factors.map((factor) => factor * 10 ** power));
  }
  ticks = ticks.filter((tick) => Math.log10(tick) >= from && Math.log10(tick) <= to);
  if (ticks.length < 2) {
    const step = roundStep((10 ** to - 10 ** from) / 4);
    ticks = [];
    for (let i = Math.ceil(10 ** from / step); i * step <= 10 ** to; i++) ticks.push(i * step);
  }
  return { place, back, ticks: ticks.map((tick) => Number(tick.toPrecision(12))) };
}

/**
 * An exponential moving average, corrected for its beginning, so that the first values are not
 * drawn towards zero (Kingma & Ba 2015, section 3).
 */
export function smoothed(values, weight) {
  if (weight === 0) return values;
  let average = 0;
  let share = 0;
  return values.map((value) => {
    average = weight * average + (1 - weight) * value;
    share = weight * share + (1 - weight);
    return average / share;
  });
}

/**
 * Points of a polyline: of each column of pixels the first, lowest, highest and last, so that
 * a curve of a million points is drawn as it looks.
 */
export function thinned(xs, ys) {
  if (xs.length < 2000) return xs.map((x, i) => [x, ys[i]]);
  const points = [];
  let from = 0;
  while (from < xs.length) {
    let to = from;
    let [lowest, highest] = [from, from];
    while (to < xs.length && Math.floor(xs[to]) === Math.floor(xs[from])) {
      if (ys[to] < ys[lowest]) lowest = to;
      if (ys[to] > ys[highest]) highest = to;
      to += 1;
    }
    const kept = [...new Set([from, lowest, highest, to - 1])].sort((a, b) => a - b);
    points.push(...kept.map((i) => [xs[i], ys[i]]));
    from = to;
  }
  return points;
}

/** The place of the value in a sorted array that lies nearest to `x`. */
export function nearest(sorted, x) {
  let [low, high] = [0, sorted.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low > 0 && x - sorted[low - 1] <= sorted[low] - x ? low - 1 : low;
}
