export type Words = Record<string, string | number>;

const rules = new Map<string, Intl.PluralRules>();

function pluralOf(locale: string, n: number): Intl.LDMLPluralRule {
  let rule = rules.get(locale);
  if (!rule) {
    rule = new Intl.PluralRules(locale);
    rules.set(locale, rule);
  }
  return rule.select(n);
}

/**
 * Fills {name} with words, and {n, plural, one: …; other: …} with the form that
 * the language's own rule asks for (CLDR, by Intl.PluralRules); # is the number.
 */
export function fill(text: string, locale: string, words: Words = {}): string {
  return text
    .replace(/\{(\w+), plural, ([^}]*)\}/g, (_, name, all) => {
      const n = Number(words[name]);
      const forms = formsOf(all);
      const form = forms[pluralOf(locale, n)] ?? forms.other ?? "";
      return form.replace("#", n.toLocaleString(locale));
    })
    .replace(/\{(\w+)\}/g, (whole, name) => {
      const word = words[name];
      if (word === undefined) return whole;
      return typeof word === "number" ? word.toLocaleString(locale) : word;
    });
}

/** The forms of a plural: "one: # day; other: # days". */
export function formsOf(text: string): Record<string, string> {
  return Object.fromEntries(
    text.split(";").map((form) => {
      const colon = form.indexOf(":");
      return [form.slice(0, colon).trim(), form.slice(colon + 1).trim()];
    }),
  );
}
