"""Models as modules of WebAssembly, for pages and Node."""
