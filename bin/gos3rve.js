#!/usr/bin/env node
// CommonJS (see package.json beside it), for one reason: Node starts its thread pool when it loads the first ES module, and
// only before that its size can be set. Flushing to disk blocks a thread each, so four of them are few.
'use strict';
process.env.UV_THREADPOOL_SIZE ??= '16';
// Node 22.1 and later keep the compiled code from one start to the next.
require('node:module').enableCompileCache?.();
import('../dist/bundle/main.js').catch((error) => {
  const missing = error.code === 'ERR_MODULE_NOT_FOUND';
  process.stderr.write(`gos3rve: ${missing ? `${error.message}; run npm ci && npm run build` : error.message}\n`);
  process.exitCode = 1;
});
