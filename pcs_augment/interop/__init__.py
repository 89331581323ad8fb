"""The same steps in other libraries' clothes; each library is imported by its own module only, never by the package."""
