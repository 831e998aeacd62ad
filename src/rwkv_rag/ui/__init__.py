"""The pages in the browser, made with Streamlit. Knows `app` and values; opens no store itself.

`__main__` starts the server, `main` is the script that Streamlit runs for every session; `chat`,
`knowledge`, `tuning` and `services` are the pages.
"""
