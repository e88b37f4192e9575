import { useEffect, useState } from "react";

function fromAddress(): string {
  return decodeURIComponent(location.hash.slice(1));
}

/**
 * The secret of a mailed link: what follows # in the address, which no server
 * is told by opening it. A link opened in a tab that stands here already
 * changes only that part.
 */
export function useLandingToken(): [string, () => void] {
  const [token, setToken] = useState(fromAddress);
  useEffect(() => {
    const read = () => setToken(fromAddress());
    window.addEventListener("hashchange", read);
    return () => window.removeEventListener("hashchange", read);
  }, []);
  function forget() {
    history.replaceState(null, "", location.pathname);
    setToken("");
  }
  return [token, forget];
}
