"""Images that are the same, nearly the same, or cut from one picture."""
