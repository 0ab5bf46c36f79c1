// Digits to begin with, for who cannot or does not want to draw: strokes on a field of 100 by 100,
// as a hand would make them. They are drawn with the same brush as a pointer's.

const arc = (x, y, rx, ry, from, to) =>
  Array.from({ length: 25 }, (_, i) => {
    const angle = ((from + ((to - from) * i) / 24) * Math.PI) / 180;
    return [x + rx * Math.cos(angle), y + ry * Math.sin(angle)];
  });

/** Strokes of the ten digits: each a list of points. */
export const DIGITS = [
  [arc(50, 50, 20, 30, -80, 285)],
  [[[40, 32], [53, 20], [51, 80]]],
  [[...arc(49, 37, 18, 17, 190, 395), [34, 79], [70, 76]]],
  [[...arc(47, 34, 17, 14, 205, 445), ...arc(48, 64, 20, 17, 275, 510)]],
  [[[43, 20], [31, 55], [70, 53]], [[62, 24], [58, 82]]],
  [[[66, 21], [40, 22], [36, 46], ...arc(48, 60, 19, 19, 235, 510)]],
  [[[60, 18], [45, 32], [35, 55], ...arc(50, 63, 17, 17, 180, 540)]],
  [[[30, 24], [68, 22], [56, 50], [48, 82]]],
  [[...arc(50, 34, 14, 14, -30, -270), ...arc(50, 65, 17, 17, -90, 270), ...arc(50, 34, 14, 14, 90, -30)]],
  [[...arc(49, 36, 16, 15, -10, -370), [63, 50], [59, 82]]],
];
