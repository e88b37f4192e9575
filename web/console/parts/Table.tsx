import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { counted } from "../../chart/measure";
import { Empty, Loading, Trouble } from "./States";

export type Column<Row> = {
  key: string;
  title: string;
  cell: (row: Row) => ReactNode;
  /** What to sort by; a column without cannot be sorted. */
  sort?: (row: Row) => string | number;
  numeric?: boolean;
  /** Left out where the screen is narrow. */
  wide?: boolean;
  /** What can be done with the row: on a card it needs no name. */
  acts?: boolean;
};

type Pages<Row> = {
  rows: Row[];
  isPending: boolean;
  error: unknown;
  hasNextPage: boolean;
  isFetchingNextPage: boolean;
  fetchNextPage: () => unknown;
  refetch: () => unknown;
};

type Props<Row> = {
  what: string;
  columns: Column<Row>[];
  pages: Pages<Row>;
  rowKey: (row: Row) => string;
  empty: ReactNode;
  /** A column's key, with a minus before it for descending; in the address. */
  sort?: string;
  onSort: (sort: string | undefined) => void;
  /** On a phone each row is a card: for tables of more columns than fit beside each other. */
  cards?: boolean;
  /** Rows to leave out, where the server cannot: then all pages are fetched. */
  keep?: (row: Row) => boolean;
};

function compare(a: string | number, b: string | number): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

/** One of several: an entry, a batch, an address, a unit. */
function one(many: string): string {
  return many
    .replace(/ies$/, "y")
    .replace(/(ss|ch)es$/, "$1")
    .replace(/([^s])s$/, "$1");
}

/**
 * A table of any length: rows are drawn as they are scrolled to, pages fetched
 * as they are needed. Sorting and local filters need all rows, so they fetch
 * the rest first and say so.
 */
export function Table<Row>({ what, columns, pages, rowKey, empty, sort, onSort, cards, keep }: Props<Row>) {
  const { rows, hasNextPage, isFetchingNextPage, fetchNextPage } = pages;
  const down = sort?.startsWith("-") ?? false;
  const by = columns.find((c) => c.key === sort?.replace(/^-/, ""))?.sort;
  const needsAll = by !== undefined || keep !== undefined;

  const shown = useMemo(() => {
    const kept = keep ? rows.filter(keep) : rows;
    if (!by) return kept;
    const sorted = [...kept].sort((a, b) => compare(by(a), by(b)));
    return down ? sorted.reverse() : sorted;
  }, [rows, keep, by, down]);

  const body = useRef<HTMLTableSectionElement>(null);
  const [margin, setMargin] = useState(0);
  // What stands above may grow at any time, as the waves of a running campaign do.
  useLayoutEffect(() => {
    const top = body.current?.getBoundingClientRect().top;
    if (top !== undefined) setMargin(Math.round(top + window.scrollY));
  });

  const virtual = useWindowVirtualizer({
    count: shown.length,
    estimateSize: () => 45,
    overscan: 15,
    scrollMargin: margin,
    getItemKey: (i) => {
      const row = shown[i];
      return row === undefined ? i : rowKey(row);
    },
  });
  const drawn = virtual.getVirtualItems();
  const first = drawn[0];
  const last = drawn.at(-1);
  const above = first ? first.start - margin : 0;
  const below = last ? virtual.getTotalSize() - (last.end - margin) : 0;

  const nearEnd = (last?.index ?? 0) >= shown.length - 20;
  useEffect(() => {
    if (hasNextPage && !isFetchingNextPage && (needsAll || nearEnd)) fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, needsAll, nearEnd, fetchNextPage]);

  if (pages.error && rows.length === 0)
    return <Trouble what={`Loading ${what}`} error={pages.error} retry={() => pages.refetch()} />;
  if (pages.isPending) return <Loading what={what} lines={8} />;
  if (rows.length === 0) return <>{empty}</>;

  return (
    <>
      <p className="tally" role="status">
        {counted(shown.length, one(what), what)}
        {hasNextPage && (needsAll ? " so far; fetching the rest…" : " shown; more as you scroll")}
      </p>
      <table className={cards ? "table cards" : "table"}>
        <thead>
          <tr>
            {columns.map((c) => (
              <Head key={c.key} column={c} sort={sort} onSort={onSort} />
            ))}
          </tr>
        </thead>
        <tbody ref={body}>
          {above > 0 && <tr aria-hidden style={{ height: above }} />}
          {drawn.map((item) => {
            const row = shown[item.index];
            if (row === undefined) return null;
            return (
              <tr key={item.key} data-index={item.index} ref={virtual.measureElement}>
                {columns.map((c, i) => (
                  <td key={c.key} className={classOf(c)} data-head={i > 0 && !c.acts ? c.title : undefined}>
                    {c.cell(row)}
                  </td>
                ))}
              </tr>
            );
          })}
          {below > 0 && <tr aria-hidden style={{ height: below }} />}
        </tbody>
      </table>
      {shown.length === 0 && !hasNextPage && <Empty title={`No ${what} match`}>Widen the filter above.</Empty>}
    </>
  );
}

function classOf<Row>(c: Column<Row>): string | undefined {
  return [c.numeric && "numeric", c.wide && "wide"].filter(Boolean).join(" ") || undefined;
}

type HeadProps<Row> = { column: Column<Row>; sort?: string; onSort: (sort: string | undefined) => void };

function Head<Row>({ column: c, sort, onSort }: HeadProps<Row>) {
  if (!c.sort)
    return (
      <th scope="col" className={classOf(c)}>
        {c.title}
      </th>
    );
  const state = sort === c.key ? "ascending" : sort === `-${c.key}` ? "descending" : "none";
  const next = state === "none" ? c.key : state === "ascending" ? `-${c.key}` : undefined;
  const arrow = { none: "↕", ascending: "↑", descending: "↓" }[state];
  return (
    <th scope="col" className={classOf(c)} aria-sort={state}>
      <button type="button" onClick={() => onSort(next)}>
        {c.title} <span aria-hidden="true">{arrow}</span>
      </button>
    </th>
  );
}
