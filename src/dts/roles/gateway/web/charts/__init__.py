"""Pictures as SVG, made on the server: they are there without JavaScript, and cost the browser nothing."""
