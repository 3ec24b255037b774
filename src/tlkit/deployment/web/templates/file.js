// Opened from a disk, without a server, a browser lets this page load nothing: show what to do.
if (location.protocol === "file:") {
  const note = document.getElementById("headline");
  const link = document.createElement("a");
  if (document.documentElement.dataset.standalone) {
    location.replace(document.documentElement.dataset.standalone);
  } else {
    note.textContent = "Opened without a server, this page can't load its classifier. Put its " +
      "folder on a web server.";
    note.classList.add("error");
  }
}
