// Counts the replies of a runtime that equal CPython's, byte for byte; runs under Node and in a page.

/** A reply without the text of its reason, which names a value in the words of one Python. */
function unworded(reply) {
  try {
    return JSON.stringify({ ...JSON.parse(reply), reason: undefined });
  } catch {
    return reply;
  }
}

/**
 * @param {Record<string, [string, string][][]>} corpus walks of requests and replies by part
 * @param {(request: string) => Promise<string>} ask
 */
export async function compare(corpus, ask) {
  const results = {};
  for (const [part, walks] of Object.entries(corpus)) {
    const found = { replies: 0, equal: 0, worded: 0, first: null };
    for (const [request, wanted] of walks.flat()) {
      const reply = await ask(request).catch((error) => `raised ${error}`);
      found.replies += 1;
      if (reply === wanted) found.equal += 1;
      else if (unworded(reply) === unworded(wanted)) found.worded += 1;
      else found.first ??= { request: request.slice(0, 2_000), wanted: wanted.slice(0, 2_000), reply: reply.slice(0, 2_000) };
    }
    results[part] = found;
  }
  return results;
}
