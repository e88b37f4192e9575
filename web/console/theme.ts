import {
  type CSSVariablesResolver,
  createTheme,
  defaultVariantColorsResolver,
  type MantineColorsTuple,
  type VariantColorsResolver,
} from "@mantine/core";

// Mantine is given the tokens of theme/tokens.css wherever it would compute a
// colour of its own, so that contrast is decided in one place.

function tuple(token: string): MantineColorsTuple {
  const v = `var(${token})`;
  return [v, v, v, v, v, v, v, v, v, v];
}

const inks = {
  accent: { ground: "--accent", over: "--accent-hover", ink: "--accent-ink", wash: "--accent-wash" },
  danger: { ground: "--danger", over: "--danger", ink: "--danger-ink", wash: "--failed-wash" },
} as const;

const variantColorResolver: VariantColorsResolver = (input) => {
  const c = inks[input.color === "danger" ? "danger" : "accent"];
  const none = "transparent";
  const [ground, over, ink, wash] = [c.ground, c.over, c.ink, c.wash].map((t) => `var(${t})`) as [
    string,
    string,
    string,
    string,
  ];
  switch (input.variant) {
    case "filled":
      return { background: ground, hover: over, color: ink, hoverColor: ink, border: `1px solid ${none}` };
    case "light":
      return { background: wash, hover: wash, color: ground, hoverColor: ground, border: `1px solid ${none}` };
    case "outline":
      return { background: none, hover: wash, color: ground, hoverColor: ground, border: `1px solid ${ground}` };
    case "subtle":
      return { background: none, hover: wash, color: ground, hoverColor: ground, border: `1px solid ${none}` };
    default:
      return defaultVariantColorsResolver(input);
  }
};

export const theme = createTheme({
  colors: { accent: tuple("--accent"), danger: tuple("--danger") },
  primaryColor: "accent",
  variantColorResolver,
  fontFamily: "var(--sans)",
  headings: { fontFamily: "var(--serif)", fontWeight: "600" },
  defaultRadius: 4,
  cursorType: "pointer",
  respectReducedMotion: true,
  components: {
    SegmentedControl: { defaultProps: { transitionDuration: 0 } },
    Tooltip: { defaultProps: { withArrow: true, multiline: true, maw: 320 } },
    Modal: { defaultProps: { centered: true, overlayProps: { backgroundOpacity: 0.5 } } },
    Anchor: { defaultProps: { underline: "always" } },
  },
});

const variables = {
  "--mantine-color-body": "var(--paper)",
  "--mantine-color-text": "var(--ink)",
  "--mantine-color-dimmed": "var(--ink-soft)",
  "--mantine-color-anchor": "var(--accent)",
  "--mantine-color-error": "var(--danger)",
  "--mantine-color-placeholder": "var(--ink-soft)",
  "--mantine-color-default": "var(--sheet)",
  "--mantine-color-default-color": "var(--ink)",
  "--mantine-color-default-border": "var(--line-strong)",
  "--mantine-color-default-hover": "var(--well)",
  "--mantine-color-disabled": "var(--well)",
  "--mantine-color-disabled-color": "var(--ink-soft)",
  "--mantine-color-disabled-border": "var(--line)",
  "--mantine-primary-color-filled": "var(--accent)",
  "--mantine-primary-color-filled-hover": "var(--accent-hover)",
  "--mantine-primary-color-light": "var(--accent-wash)",
  "--mantine-primary-color-light-hover": "var(--accent-wash)",
  "--mantine-primary-color-light-color": "var(--accent)",
  "--mantine-primary-color-contrast": "var(--accent-ink)",
  "--mantine-color-accent-filled": "var(--accent)",
  "--mantine-color-accent-text": "var(--accent)",
  "--mantine-color-accent-light": "var(--accent-wash)",
  "--mantine-color-accent-light-color": "var(--accent)",
  "--mantine-color-danger-filled": "var(--danger)",
  "--mantine-color-danger-text": "var(--danger)",
};

export const cssVariablesResolver: CSSVariablesResolver = () => ({ variables: {}, light: variables, dark: variables });
