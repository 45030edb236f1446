import type { Report, Row } from './report.ts';
import { printTable, times } from './table.ts';

/** What the families of servers have in common. */
interface ServerRow extends Row {
  readonly messagesPerCpuRatio?: number | undefined;
  readonly p99Ratio?: number | undefined;
  readonly residentRatio?: number | undefined;
}

const FIGURES: readonly { readonly title: string; readonly of: (row: ServerRow) => number | undefined }[] = [
  {
    title: 'messages (connections) for the same CPU time of the server: node = 1, more is better',
    of: (row) => row.messagesPerCpuRatio,
  },
  { title: 'p99 of the round trip: node = 1, less is better', of: (row) => row.p99Ratio },
  {
    title: 'resident memory for each idle connection: node = 1, less is better',
    of: (row) => row.residentRatio,
  },
];

/** One table for each figure: a line for each cell, a column for each contender. */
export function printSummary(reports: readonly Report[]): void {
  for (const { title, of } of FIGURES) {
    const cells = reports.flatMap(({ family, cells }) =>
      cells
        .filter(({ rows }) => rows.some((row) => of(row) !== undefined))
        .map(({ cell, rows }) => ({ name: `${family} ${Object.values(cell).join(' × ')}`, rows })),
    );
    if (cells.length === 0) continue;
    const contenders = [...new Set(cells.flatMap(({ rows }) => rows.map((row) => row.contender)))];
    printTable(
      title,
      ['', ...contenders],
      cells.map(({ name, rows }) => [
        name,
        ...contenders.map((contender) => {
          const row = rows.find((each) => each.contender === contender);
          return row === undefined ? '' : times(of(row));
        }),
      ]),
    );
  }
}
