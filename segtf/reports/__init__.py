"""Run folders in, pages, pictures, tables and notebooks about them out."""
