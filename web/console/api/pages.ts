import { type QueryKey, useInfiniteQuery } from "@tanstack/react-query";

export type PageOf<T> = { items: T[]; next?: string };

/** A list of the API, page after page by its cursor. */
export function usePages<T>(key: QueryKey, fetchPage: (after?: string) => Promise<PageOf<T>>, refresh?: number) {
  const query = useInfiniteQuery({
    queryKey: key,
    queryFn: ({ pageParam }) => fetchPage(pageParam),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.next || undefined,
    // A long list that has been scrolled is not fetched whole again and again.
    refetchInterval: (q) => (refresh && (q.state.data?.pages.length ?? 0) <= 1 ? refresh : false),
    placeholderData: (before) => before,
  });
  return { ...query, rows: query.data?.pages.flatMap((p) => p.items) ?? [] };
}
