// React 19 sets what an element has as properties, and attributes until the script of the origin has come. So names
// are written as attributes are: `max-tier`.
import { useEffect, useRef, useState } from "react";
import { createRoot } from "react-dom/client";

function Match({ match, onChange }) {
  const element = useRef(null);
  useEffect(() => {
    const listen = (event) => onChange(event.detail.announce);
    element.current.addEventListener("live-score:change", listen);
    return () => element.current?.removeEventListener("live-score:change", listen);
  }, [onChange]);
  return (
    <live-score ref={element} match={match} max-tier="1">
      The score of {match}
    </live-score>
  );
}

function App({ matches }) {
  const [match, setMatch] = useState(matches[0]);
  const [news, setNews] = useState("");
  return (
    <>
      {matches.map((id) => (
        <button key={id} onClick={() => setMatch(id)}>
          {id}
        </button>
      ))}
      <Match match={match} onChange={setNews} />
      <output>{news}</output>
    </>
  );
}

export function mount(target, matches) {
  const root = createRoot(target);
  root.render(<App matches={matches} />);
  return () => root.unmount();
}
