"""The same steps with the interfaces of other libraries; each library is imported by its own module only, never by the
package."""
