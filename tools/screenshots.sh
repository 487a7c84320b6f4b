#!/usr/bin/env bash
# Pictures of the documentation's site and of pages of `aotbuild inspect` and `aotbuild report`, at two widths, light and
# dark, in build/docs/screens; those that docs/images/screens has are replaced.
# screenshots.sh <library> <report.html>: what is inspected, and a report. Needs Debian's chromium and pngquant, and
# `make docs` before.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
cd "$ROOT"

screens=build/docs/screens
port=8931
mkdir -p "$screens"
aotbuild inspect "$1" --html build/docs/site/inspect.html >/dev/null
cp "$2" build/docs/site/report.html
python -m http.server "$port" --bind 127.0.0.1 --directory build/docs/site >/dev/null 2>&1 &
server=$!
trap 'kill "$server"' EXIT
sleep 1
for page in index comparison cmake architecture python-reference cpp/classaotbuild_1_1Model inspect report; do
  [[ -f build/docs/site/$page.html ]] || { echo "there is no $page.html: run make docs" >&2; exit 1; }
  for width in 1280 420; do
    for scheme in light dark; do
      # Blink's numbers of the schemes that a page may prefer.
      preferred=$([[ $scheme == dark ]] && echo 0 || echo 1)
      picture=$screens/${page##*/}-$width-$scheme.png
      chromium --headless --no-sandbox --disable-gpu --hide-scrollbars "--window-size=$width,900" \
        "--blink-settings=preferredColorScheme=$preferred" --virtual-time-budget=3000 \
        "--screenshot=$picture" "http://127.0.0.1:$port/$page.html" 2>/dev/null
      pngquant --force --output "$picture" 32 "$picture"
      kept=docs/images/screens/$(basename "$picture")
      [[ ! -f $kept ]] || cp "$picture" "$kept"
    done
  done
done
ls "$screens"
