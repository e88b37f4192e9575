import { Button, Checkbox, Group, SegmentedControl, Stack, Text, Textarea, TextInput } from "@mantine/core";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { type ProductSpec, useProduct } from "../api/fleet";
import { type NoticeDraft, useNotices, usePublish } from "../api/rights";
import { useClock } from "../clock";
import { Confirm } from "../parts/Confirm";
import { directionOf, languageName, NoticeView, Widenings } from "../parts/NoticeView";
import { drafted, draftOf, withLanguage, withoutLanguage } from "../parts/noticeDraft";
import { Page, PageTrouble, Sheet } from "../parts/Page";
import { Recipients } from "../parts/Recipients";
import { Loading, Trouble } from "../parts/States";

const route = getRouteApi("/shell/notices/$product/publish");

/** Writes the next version of a notice: words, what it widens, a try, and then for everybody. */
export function PublishPage() {
  const { product } = route.useParams();
  const spec = useProduct(product);
  const notices = useNotices(product);
  const trouble = spec.error ?? notices.error;
  if (trouble)
    return (
      <PageTrouble
        what={`Loading ${product}`}
        error={trouble}
        retry={() => Promise.all([spec.refetch(), notices.refetch()])}
      />
    );
  if (!spec.data || !notices.data) return <Loading what="the notice" lines={12} />;
  const after = notices.data[0]?.version ?? "";
  return <Writing key={after} product={product} spec={spec.data} after={after} />;
}

type Props = { product: string; spec: ProductSpec; after: string };

/** What is being written is kept in this window until it is published or thrown away. */
function useDraft({ product, spec, after }: Props) {
  const { now } = useClock();
  const place = `fettle.notice.${product}`;
  const [draft, setDraft] = useState<NoticeDraft>(() => {
    const kept = JSON.parse(sessionStorage.getItem(place) ?? "null") as NoticeDraft | null;
    return kept?.after === after ? kept : draftOf(spec, after, now());
  });
  useEffect(() => sessionStorage.setItem(place, JSON.stringify(draft)), [place, draft]);
  return {
    draft,
    setDraft,
    forget: () => {
      sessionStorage.removeItem(place);
      setDraft(draftOf(spec, after, now()));
    },
  };
}

function Writing(props: Props) {
  const { product, spec, after } = props;
  const navigate = route.useNavigate();
  const { draft, setDraft, forget } = useDraft(props);
  const own = spec.notice?.language || "en";
  const languages = [own, ...Object.keys(draft.notice.texts).filter((l) => l !== own)];
  const [chosen, setLang] = useState(own);
  const lang = languages.includes(chosen) ? chosen : own;
  const tried = usePublish(product);
  const publish = usePublish(product);
  const change = (more: Partial<NoticeDraft>) => {
    tried.reset();
    setDraft({ ...draft, ...more });
  };
  const notice = (more: Partial<NoticeDraft["notice"]>) => change({ notice: { ...draft.notice, ...more } });
  const leave = () => navigate({ to: "/notices", search: { product } });
  return (
    <Page
      title={`A new notice for ${spec.title || product}`}
      above={
        <Link to="/notices" search={{ product }}>
          Notices
        </Link>
      }
      actions={
        <Button variant="default" onClick={forget}>
          Begin again
        </Button>
      }
    >
      <p>
        It begins with what version {after} says. Publishing changes the words in the product’s declaration: take them
        over into its file with <code>fettle get product {product} -o yaml</code>.
      </p>
      <Sheet title="The notice">
        <div className="fields">
          <TextInput
            label="Version"
            required
            value={draft.notice.version}
            onChange={(e) => notice({ version: e.currentTarget.value.trim() })}
          />
          <TextInput
            label="Who answers for the data"
            required
            value={draft.notice.controller.name}
            onChange={(e) => notice({ controller: { ...draft.notice.controller, name: e.currentTarget.value } })}
          />
          <TextInput
            label="Where owners write to"
            description="An address or a page"
            required
            value={draft.notice.controller.contact}
            onChange={(e) => notice({ controller: { ...draft.notice.controller, contact: e.currentTarget.value } })}
          />
          <TextInput
            label="By post"
            value={draft.notice.controller.address ?? ""}
            onChange={(e) => notice({ controller: { ...draft.notice.controller, address: e.currentTarget.value } })}
          />
          <TextInput
            label="Authority to complain to"
            value={draft.notice.complaint ?? ""}
            onChange={(e) => notice({ complaint: e.currentTarget.value })}
          />
          <TextInput
            label="Erasure without the portal"
            description="An address or a telephone number"
            value={draft.notice.erasure ?? ""}
            onChange={(e) => notice({ erasure: e.currentTarget.value })}
          />
        </div>
      </Sheet>
      <Sheet title="Recipients">
        <Recipients
          recipients={draft.notice.recipients ?? []}
          purposes={spec.purposes}
          set={(recipients) => notice({ recipients })}
        />
      </Sheet>
      <Sheet
        title="Words"
        actions={
          <Languages languages={languages} lang={lang} own={own} setLang={setLang} draft={draft} change={change} />
        }
      >
        <div className="pair">
          <Words draft={draft} spec={spec} lang={lang} own={own} change={change} />
          <div>
            <Text size="sm" className="soft" mb="xs">
              As owners will read it in {languageName(lang)}
            </Text>
            <NoticeView words={drafted(spec, draft)} lang={lang} />
          </div>
        </div>
      </Sheet>
      <Sheet title="What it widens">
        <Checkbox.Group
          label="Ask again the owners who agreed to"
          description="Where data is used in more ways than the version before said. New signals, longer keeping and new recipients are noticed without."
          value={draft.notice.widens ?? []}
          onChange={(widens) => notice({ widens })}
        >
          <Stack gap="xs" mt="sm">
            {spec.purposes
              .filter((q) => q.basis === "consent")
              .map((q) => (
                <Checkbox key={q.name} value={q.name} label={q.title} />
              ))}
          </Stack>
        </Checkbox.Group>
      </Sheet>
      <Sheet title="Try and publish">
        <Group>
          <Button variant="default" loading={tried.isPending} onClick={() => tried.mutate({ ...draft, dryRun: true })}>
            Try it
          </Button>
          {tried.data && tried.data.diff !== "" && (
            <Confirm
              label="Publish"
              title={`Publish ${draft.notice.version}?`}
              confirm={async () => {
                await publish.mutateAsync({ ...draft, dryRun: undefined });
                forget();
                await leave();
              }}
            >
              Owners read it from now on. Once one of them has, its words stay as they are.
            </Confirm>
          )}
        </Group>
        <div role="status">
          {tried.data && (
            <>
              <h3>What it would widen</h3>
              <Widenings widens={tried.data.widens} dry />
              <h3>What changes in the declaration</h3>
              {tried.data.diff === "" ? (
                <p>Nothing: it says what is said now.</p>
              ) : (
                <pre className="words diff">{tried.data.diff}</pre>
              )}
            </>
          )}
        </div>
        {tried.error && <Trouble what="The try" error={tried.error} />}
      </Sheet>
    </Page>
  );
}

type LanguagesProps = {
  languages: string[];
  lang: string;
  own: string;
  setLang: (l: string) => void;
  draft: NoticeDraft;
  change: (d: NoticeDraft) => void;
};

function Languages({ languages, lang, own, setLang, draft, change }: LanguagesProps) {
  const [more, setMore] = useState("");
  const add = () => {
    const tag = more.trim();
    if (!tag) return;
    change(withLanguage(draft, tag));
    setLang(tag);
    setMore("");
  };
  return (
    <Group gap="xs" align="flex-end">
      <SegmentedControl
        aria-label="Language"
        size="xs"
        data={languages.map((l) => ({ value: l, label: languageName(l) }))}
        value={lang}
        onChange={setLang}
      />
      <TextInput
        size="xs"
        w={110}
        aria-label="Another language, as de or pt-BR"
        placeholder="de, pt-BR"
        value={more}
        onChange={(e) => setMore(e.currentTarget.value)}
        onKeyDown={(e) => e.key === "Enter" && add()}
      />
      <Button size="xs" variant="default" onClick={add} disabled={!more.trim()}>
        Add
      </Button>
      {lang !== own && (
        <Button
          size="xs"
          variant="subtle"
          color="danger"
          onClick={() => {
            change(withoutLanguage(draft, lang));
            setLang(own);
          }}
        >
          Take {languageName(lang)} out
        </Button>
      )}
    </Group>
  );
}

type WordsProps = {
  draft: NoticeDraft;
  spec: ProductSpec;
  lang: string;
  own: string;
  change: (more: Partial<NoticeDraft>) => void;
};

function Words({ draft, spec, lang, own, change }: WordsProps) {
  const text = draft.notice.texts[lang] ?? { title: "", text: "" };
  const setText = (more: Partial<typeof text>) =>
    change({ notice: { ...draft.notice, texts: { ...draft.notice.texts, [lang]: { ...text, ...more } } } });
  // The declaration's own words stand beside the others', not among them.
  function put<T extends { texts?: Record<string, object> }>(list: T[], i: number, more: object): T[] {
    return list.map((x, j) => {
      if (j !== i) return x;
      if (lang === own) return { ...x, ...more };
      return { ...x, texts: { ...x.texts, [lang]: { description: "", ...x.texts?.[lang], ...more } } };
    });
  }
  const dir = directionOf(lang);
  return (
    <Stack gap="sm" dir={dir}>
      <TextInput
        label="Title"
        required
        lang={lang}
        value={text.title}
        onChange={(e) => setText({ title: e.currentTarget.value })}
      />
      <Textarea
        label="Text"
        description="A blank line begins a paragraph"
        required
        autosize
        minRows={4}
        maxRows={16}
        lang={lang}
        value={text.text}
        onChange={(e) => setText({ text: e.currentTarget.value })}
      />
      {draft.purposes.map((q, i) => {
        const said = lang === own ? q : (q.texts?.[lang] ?? { title: "", description: "", keepReason: "" });
        const set = (more: object) => change({ purposes: put(draft.purposes, i, more) });
        return (
          <fieldset key={q.name} className="group">
            <legend>
              Purpose <code>{q.name}</code>
            </legend>
            <Stack gap="xs">
              <TextInput
                label="Title"
                required
                lang={lang}
                value={said.title}
                onChange={(e) => set({ title: e.currentTarget.value })}
              />
              <Textarea
                label="What for"
                required
                autosize
                minRows={2}
                lang={lang}
                value={said.description}
                onChange={(e) => set({ description: e.currentTarget.value })}
              />
              {spec.purposes[i]?.onWithdrawal === "keep" && (
                <TextInput
                  label="The law that requires it to be kept"
                  required
                  lang={lang}
                  value={said.keepReason ?? ""}
                  onChange={(e) => set({ keepReason: e.currentTarget.value })}
                />
              )}
            </Stack>
          </fieldset>
        );
      })}
      <details>
        <summary>What is collected: {draft.signals.length} signals</summary>
        {draft.signals.map((s, i) => {
          const said = lang === own ? s : (s.texts?.[lang] ?? { title: "", description: "" });
          const set = (more: object) => change({ signals: put(draft.signals, i, more) });
          return (
            <fieldset key={s.name} className="group">
              <legend>
                Signal <code>{s.name}</code>
              </legend>
              <Stack gap="xs">
                <TextInput
                  label="Title"
                  lang={lang}
                  value={said.title ?? ""}
                  onChange={(e) => set({ title: e.currentTarget.value })}
                />
                <TextInput
                  label="What it tells"
                  lang={lang}
                  value={said.description}
                  onChange={(e) => set({ description: e.currentTarget.value })}
                />
              </Stack>
            </fieldset>
          );
        })}
      </details>
    </Stack>
  );
}
