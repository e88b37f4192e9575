import { SegmentedControl } from "@mantine/core";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useNotice } from "../api/rights";
import { Time } from "../clock";
import { languageName, NoticeView, Widenings } from "../parts/NoticeView";
import { Facts, Page, PageTrouble, Sheet } from "../parts/Page";
import { Loading } from "../parts/States";

const route = getRouteApi("/shell/notices/$product/versions/$version");

/** One version of a notice, as owners read it in each of its languages. */
export function NoticePage() {
  const { product, version } = route.useParams();
  const { lang } = route.useSearch();
  const navigate = route.useNavigate();
  const notice = useNotice(product, version);
  if (notice.error)
    return <PageTrouble what={`Loading notice ${version}`} error={notice.error} retry={() => notice.refetch()} />;
  if (!notice.data) return <Loading what="the notice" lines={10} />;
  const n = notice.data;
  const shown = n.languages.includes(lang ?? "") ? (lang ?? "") : (n.languages[0] ?? "en");
  return (
    <Page
      title={`Notice ${n.version}`}
      above={
        <Link to="/notices" search={{ product }}>
          Notices of {n.words.title || product}
        </Link>
      }
      actions={
        <a
          className="act quiet"
          href={`/notices/${product}/${n.version}?lang=${shown}`}
          target="_blank"
          rel="noreferrer"
        >
          As anybody can read it
        </a>
      }
    >
      <Facts
        facts={[
          [
            "State",
            n.current ? (
              <span key="c" className="mark acting">
                read now
              </span>
            ) : (
              <span key="c" className="mark unknown">
                superseded
              </span>
            ),
          ],
          ["Published", <Time key="p" at={n.publishedAt} />],
          ["First seen", n.shownAt ? <Time key="s" at={n.shownAt} /> : "by nobody yet; it can still be replaced"],
          ["Owners who saw it", n.saw?.toLocaleString("en") ?? (n.shownAt ? "fewer than 10, or not told" : "–")],
          [
            "Follows",
            n.before ? (
              <Link
                key="b"
                to="/notices/$product/versions/$version"
                params={{ product, version: n.before }}
                search={{ lang }}
              >
                {n.before}
              </Link>
            ) : (
              "nothing: it is the first"
            ),
          ],
        ]}
      />
      {n.before && (
        <Sheet title="What it widens">
          <Widenings widens={n.widens} />
        </Sheet>
      )}
      <Sheet
        title="As owners read it"
        actions={
          n.languages.length > 1 ? (
            <SegmentedControl
              aria-label="Language"
              size="xs"
              data={n.languages.map((l) => ({ value: l, label: languageName(l) }))}
              value={shown}
              onChange={(l) => navigate({ search: { lang: l }, replace: true, resetScroll: false })}
            />
          ) : (
            <span className="soft">in {languageName(shown)} alone</span>
          )
        }
      >
        <NoticeView words={n.words} lang={shown} />
      </Sheet>
    </Page>
  );
}
