#ifndef GROVE_EXAMPLES_CHAT_PAGE_H_
#define GROVE_EXAMPLES_CHAT_PAGE_H_

#include "absl/strings/string_view.h"

namespace grove::examples {

// What websocket_chat shows at /. Lines get into the page as text, never as HTML.
inline constexpr absl::string_view kChatPage = R"html(<!doctype html>
<meta charset="utf-8">
<title>grove chat</title>
<style>
  body { font: 16px sans-serif; max-width: 40em; margin: 1em auto; }
  #lines { height: 20em; overflow: auto; border: 1px solid #888; padding: .5em; }
  #text { width: 100%; box-sizing: border-box; margin-top: .5em; }
</style>
<form id="enter">
  <input id="room" placeholder="room" required maxlength="16" value="lobby">
  <input id="name" placeholder="your name" required maxlength="16">
  <button>Enter</button>
</form>
<div id="lines"></div>
<form id="say"><input id="text" maxlength="500" disabled placeholder="say something"></form>
<script>
const $ = id => document.getElementById(id);
let ws = null;
function show(line) {
  const div = document.createElement("div");
  div.textContent = line;
  $("lines").append(div);
  while ($("lines").childElementCount > 1000) $("lines").firstChild.remove();
  div.scrollIntoView();
}
$("enter").onsubmit = event => {
  event.preventDefault();
  if (ws) ws.close(1000);
  $("text").disabled = true;
  const url = new URL("/chat", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.search = "?room=" + encodeURIComponent($("room").value) +
               "&name=" + encodeURIComponent($("name").value);
  const mine = ws = new WebSocket(url);
  mine.onopen = () => { $("text").disabled = false; $("text").focus(); };
  mine.onmessage = event => show(event.data);
  mine.onclose = event => {
    show("* disconnected (" + event.code + ")");
    if (mine === ws) $("text").disabled = true;
  };
};
$("say").onsubmit = event => {
  event.preventDefault();
  if (!ws || ws.readyState !== WebSocket.OPEN) return;
  if ($("text").value) ws.send($("text").value);
  $("text").value = "";
};
</script>
)html";

}  // namespace grove::examples

#endif  // GROVE_EXAMPLES_CHAT_PAGE_H_
