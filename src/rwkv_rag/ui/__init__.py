"""The pages in the browser, made with Streamlit. Knows `app` and values; opens no store itself.

`server` starts them, `main` is the script Streamlit runs, `chat` and `library` are the pages.
"""
