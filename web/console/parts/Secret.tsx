import { Button, Code, CopyButton, Group, Stack, Text } from "@mantine/core";
import type { ReactNode } from "react";

/** A secret the server tells once. */
export function Secret({ value }: { value: string }) {
  return <Copyable value={value}>It is shown this once. Keep it where it belongs before you close this.</Copyable>;
}

/** Something to be copied elsewhere. */
export function Copyable({ value, children }: { value: string; children: ReactNode }) {
  return (
    <Stack>
      <Text>{children}</Text>
      <Code block>{value}</Code>
      <Group>
        <CopyButton value={value}>
          {({ copied, copy }) => <Button onClick={copy}>{copied ? "Copied" : "Copy"}</Button>}
        </CopyButton>
      </Group>
    </Stack>
  );
}
