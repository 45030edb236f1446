/** A heading and rows of text; the first column to the left, the others to the right. */
export function printTable(
  title: string,
  heading: readonly string[],
  rows: readonly (readonly string[])[],
): void {
  const widths = heading.map((text, column) =>
    Math.max(text.length, ...rows.map((row) => row[column].length)),
  );
  const line = (cells: readonly string[]): string =>
    `  ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('   ')}`;
  console.log(`\n${title}`);
  console.log(line(heading));
  console.log(`  ${widths.map((width) => '─'.repeat(width)).join('───')}`);
  for (const row of rows) console.log(line(row));
}

const grouped = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/** `123,456`; small values keep three digits, or as many as there are to three places. */
export function figure(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return '–';
  if (Math.abs(value) >= 100) return grouped.format(value);
  if (Math.abs(value) < 0.1) return value.toFixed(3);
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2);
}

export const times = (ratio: number | undefined): string =>
  ratio === undefined ? '–' : `${ratio.toFixed(2)}×`;
export const percent = (share: number): string => `${Math.round(share * 100)} %`;
