import type { ExecutionContext } from '@nestjs/common';

/** Reads what the decorators of a route say, once for each route: it does not change, and looking it up costs time. */
export function oncePerRoute<T>(read: (context: ExecutionContext) => T): (context: ExecutionContext) => T {
  const known = new Map<unknown, { readonly said: T }>();
  return (context) => {
    const handler = context.getHandler();
    let entry = known.get(handler);
    if (!entry) known.set(handler, (entry = { said: read(context) }));
    return entry.said;
  };
}
