// A plain script, so that it runs before the first paint: the theme that the person has chosen.
try {
  const theme = localStorage.getItem("theme")
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme
} catch {
  // Without storage the page follows the system.
}
