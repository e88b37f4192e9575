import { type ReactNode, useEffect, useRef } from "react";
import "./history.css";
import { type Key, useLanguage } from "./language";
import { Heading, Loading, Trouble } from "./states";

/** What useInfiniteQuery says of pages of a list, as far as it is shown here. */
interface Paged<T> {
  data?: { pages: { items: T[] }[] };
  error: unknown;
  isPending: boolean;
  hasNextPage: boolean;
  isFetchingNextPage: boolean;
  fetchNextPage: () => unknown;
  refetch: () => unknown;
}

/** A list by time, newest first, that shows older ones on request; its words are those of an area. */
export function Timeline<T extends { id: string }>(props: {
  words: "history" | "looks";
  paged: Paged<T>;
  mark: (item: T) => string | undefined;
  children: (item: T) => ReactNode;
}) {
  const { words, paged, mark, children } = props;
  const { t } = useLanguage();
  const say = (key: string, values?: Record<string, number>) => t(`${words}.${key}` as Key, values);
  const all = paged.data?.pages.flatMap((p) => p.items) ?? [];
  const list = useRef<HTMLOListElement>(null);
  const grown = useRef(0);

  // Who asked for older ones goes on reading at the first of them.
  useEffect(() => {
    if (grown.current && all.length > grown.current) {
      list.current?.querySelector<HTMLElement>(`:scope > li:nth-child(${grown.current + 1})`)?.focus();
      grown.current = 0;
    }
  }, [all.length]);

  return (
    <>
      <Heading>{say("title")}</Heading>
      {paged.error ? <Trouble error={paged.error} retry={() => paged.refetch()} /> : null}
      {paged.isPending && <Loading />}
      {paged.data && (
        <section className="sheet" aria-label={say("title")}>
          <p>{say(all.length ? "text" : "empty")}</p>
          <ol className="timeline" ref={list}>
            {all.map((item) => (
              <li key={item.id} tabIndex={-1} className={mark(item)}>
                {children(item)}
              </li>
            ))}
          </ol>
          <p className="unseen" role="status">
            {say("shown", { n: all.length })}
          </p>
          {paged.hasNextPage && (
            <button
              type="button"
              className="quiet"
              disabled={paged.isFetchingNextPage}
              onClick={() => {
                grown.current = all.length;
                paged.fetchNextPage();
              }}
            >
              {say("older")}
            </button>
          )}
        </section>
      )}
    </>
  );
}
