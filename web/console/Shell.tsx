import { AppShell, Burger, Button, Group, SegmentedControl, Text, useMantineColorScheme } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { Link, type LinkProps, Outlet, useNavigate, useRouterState } from "@tanstack/react-router";
import { useEffect } from "react";
import { Mark } from "../theme/Mark";
import { type Permission, useSession, useSignOut } from "./api/session";
import { useClock, type Zone } from "./clock";
import { Health } from "./parts/Health";
import { Loading, Trouble, useSight } from "./parts/States";

type Section = {
  to: LinkProps["to"] & string;
  label: string;
  /** One of these is enough; none: whoever may look. */
  needs?: Permission[];
  /** Who sees some products, or some regions, alone may not open it. */
  whole?: "products" | "regions";
};

// As internal/api/testdata/matrix.txt has it.
const groups: { title: string; links: Section[] }[] = [
  {
    title: "Fleet",
    links: [
      { to: "/", label: "Overview" },
      { to: "/units", label: "Units" },
      { to: "/findings", label: "Findings" },
      { to: "/risk", label: "Risk" },
      { to: "/parts", label: "Part life", whole: "regions" },
    ],
  },
  {
    title: "Remedies",
    links: [
      { to: "/cohorts", label: "Cohorts", whole: "regions" },
      { to: "/campaigns", label: "Campaigns" },
      { to: "/releases", label: "Releases" },
      { to: "/approvals", label: "Approvals", whole: "regions" },
    ],
  },
  {
    title: "Owners",
    links: [
      { to: "/tips", label: "Tips" },
      { to: "/delivery", label: "Delivery", needs: ["personal"], whole: "products" },
      { to: "/templates", label: "Templates", whole: "regions" },
      { to: "/ladders", label: "Ladders" },
      { to: "/letters", label: "Letters", needs: ["contact"], whole: "products" },
      { to: "/calls", label: "Calls", needs: ["contact"], whole: "products" },
    ],
  },
  {
    title: "Privacy",
    links: [
      { to: "/notices", label: "Notices" },
      { to: "/consent", label: "Consent" },
      { to: "/requests", label: "Requests", needs: ["privacy"], whole: "products" },
      { to: "/audit", label: "Audit trail", needs: ["privacy"], whole: "products" },
    ],
  },
  {
    title: "Set-up",
    links: [
      { to: "/products", label: "Products" },
      { to: "/detectors", label: "Detectors" },
      { to: "/notifications", label: "Notifications", needs: ["administer"], whole: "products" },
      { to: "/claims", label: "Claims", whole: "regions" },
      { to: "/keys", label: "Keys", whole: "products" },
      { to: "/people", label: "People", needs: ["administer"] },
      { to: "/tokens", label: "API tokens" },
      { to: "/account", label: "My account" },
    ],
  },
];

/** The sections that an operator may open. */
function useSections() {
  const { permissions = [], products = [], regions = [] } = useSession().data ?? {};
  const open = (s: Section) =>
    (!s.needs || s.needs.some((p) => permissions.includes(p))) &&
    (!s.whole || regions.length === 0) &&
    (s.whole !== "products" || products.length === 0);
  return groups
    .map(({ title, links }) => ({ title, links: links.filter(open) }))
    .filter(({ links }) => links.length > 0);
}

export function Shell() {
  const [open, { toggle, close }] = useDisclosure();
  const session = useSession();
  const signOut = useSignOut();
  const navigate = useNavigate();
  const leave = () => signOut.mutate(undefined, { onSuccess: () => navigate({ to: "/sign-in" }) });
  const mine = useSections();
  const sight = useSight();
  const path = useRouterState({ select: (s) => s.location.pathname });

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new page closes the menu
  useEffect(close, [path, close]);

  // On a low screen the menu is longer than the window, and the page's own place may lie below.
  const ready = session.isSuccess;
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new page has another place
  useEffect(() => {
    document.querySelector(".nav a.active")?.scrollIntoView({ block: "nearest" });
  }, [path, ready]);

  if (session.isPending)
    return (
      <div className="page">
        <Loading what="the console" />
      </div>
    );
  if (session.error)
    return (
      <div className="page">
        <Trouble what="Opening the console" error={session.error} retry={() => session.refetch()} />
      </div>
    );

  return (
    <AppShell
      header={{ height: 56 }}
      navbar={{ width: 216, breakpoint: "sm", collapsed: { mobile: !open } }}
      padding={0}
      transitionDuration={0}
    >
      <a className="skip" href="#content">
        Skip to the content
      </a>
      <AppShell.Header className="head">
        <Group h="100%" px="md" justify="space-between" wrap="nowrap">
          <Group gap="xs" wrap="nowrap">
            <Burger
              opened={open}
              onClick={toggle}
              hiddenFrom="sm"
              size="sm"
              aria-label={open ? "Close the menu" : "Open the menu"}
            />
            <Link to="/" className="brand">
              <Mark size={26} />
              Fettle <span>console</span>
            </Link>
          </Group>
          <Settings email={session.data.email} leave={leave} />
        </Group>
      </AppShell.Header>
      <AppShell.Navbar className="nav" aria-label="Console">
        {mine.map(({ title, links }) => (
          <ul key={title} aria-label={title}>
            <li className="group-title" aria-hidden="true">
              {title}
            </li>
            {links.map((l) => (
              <li key={l.to}>
                <Link to={l.to} activeOptions={{ exact: l.to === "/", includeSearch: false }}>
                  {l.label}
                </Link>
              </li>
            ))}
          </ul>
        ))}
        {sight && <p className="sight">You see {sight}.</p>}
        <Button variant="subtle" hiddenFrom="sm" onClick={leave}>
          Sign out
        </Button>
      </AppShell.Navbar>
      <AppShell.Main id="content" tabIndex={-1}>
        <div className="page">
          <Health />
          <Outlet />
        </div>
      </AppShell.Main>
    </AppShell>
  );
}

function Settings({ email, leave }: { email: string; leave: () => void }) {
  const { zone, setZone } = useClock();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  return (
    <Group gap="xs" wrap="nowrap" className="settings">
      <SegmentedControl
        size="xs"
        aria-label="Times in"
        value={zone}
        onChange={(z) => setZone(z as Zone)}
        data={[
          { value: "UTC", label: "UTC" },
          { value: "local", label: "Local" },
        ]}
      />
      <label className="scheme">
        <span className="unseen">Appearance</span>
        <select value={colorScheme} onChange={(e) => setColorScheme(e.target.value as "light" | "dark" | "auto")}>
          <option value="auto">Auto</option>
          <option value="light">Light</option>
          <option value="dark">Dark</option>
        </select>
      </label>
      <Text size="sm" visibleFrom="md" component={Link} to="/account">
        {email}
      </Text>
      <Button size="compact-sm" variant="subtle" visibleFrom="sm" onClick={leave}>
        Sign out
      </Button>
    </Group>
  );
}
