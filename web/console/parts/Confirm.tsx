import { Button, Group, Stack, Text, TextInput } from "@mantine/core";
import { type FormEvent, type ReactNode, useState } from "react";
import { Dialog } from "./Dialog";
import { reasonOf } from "./States";

type Props = {
  label: string;
  title: string;
  children: ReactNode;
  danger?: boolean;
  /** Asks for a reason, which is kept with the change. */
  reason?: string;
  size?: "xs" | "sm";
  variant?: string;
  confirm: (why: string) => Promise<unknown>;
};

/** A button whose consequence is told, and confirmed, before it happens. */
export function Confirm({ label, title, children, danger, reason, size = "sm", variant, confirm }: Props) {
  const [open, setOpen] = useState(false);
  const [why, setWhy] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const color = danger ? "danger" : "accent";

  async function act() {
    setBusy(true);
    setError(null);
    try {
      await confirm(why);
      setOpen(false);
      setWhy("");
    } catch (e) {
      setError(e);
    } finally {
      setBusy(false);
    }
  }

  return (
    <>
      <Button
        size={size}
        color={color}
        variant={variant ?? (danger ? "outline" : "filled")}
        onClick={() => setOpen(true)}
      >
        {label}
      </Button>
      <Dialog open={open} close={() => setOpen(false)} title={title}>
        <Stack
          gap="md"
          component="form"
          onSubmit={(e: FormEvent) => {
            e.preventDefault();
            act();
          }}
        >
          <Text component="div">{children}</Text>
          {reason && (
            <TextInput
              data-autofocus
              label={reason}
              value={why}
              maxLength={1000}
              onChange={(e) => setWhy(e.currentTarget.value)}
            />
          )}
          {error !== null && (
            <Text c="danger" role="alert" fw={600}>
              {reasonOf(error)}
            </Text>
          )}
          <Group justify="flex-end">
            <Button variant="default" onClick={() => setOpen(false)}>
              Back
            </Button>
            <Button type="submit" color={color} loading={busy}>
              {label}
            </Button>
          </Group>
        </Stack>
      </Dialog>
    </>
  );
}
