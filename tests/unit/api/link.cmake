# The router and the error bodies are the server's own.
set(TD_LINK td_http)
