/** The languages of the portal, each by its own name. */
export const names: Record<string, string> = {
  en: "English",
  de: "Deutsch",
  fr: "Français",
  es: "Español",
  sv: "Svenska",
};

export const languages = Object.keys(names);
