/** Send files one after another; XMLHttpRequest, because fetch tells nothing of an upload's progress. */
import { ApiError, errorOf, type Trouble, url } from "../api/client";
import type { Doc } from "../api/types";

export type Upload = { id: string; name: string; size: number; sent: number; problem?: Trouble };

export function sendFile(file: File, workspace: string, onProgress: (sent: number) => void): Promise<Doc> {
  const form = new FormData();
  form.append("workspace", workspace);
  form.append("file", file, file.name);
  const request = new XMLHttpRequest();
  request.open("POST", url("v1/documents"));
  request.setRequestHeader("X-Ragkeep", "1");
  request.upload.onprogress = (event) => onProgress(event.total ? event.loaded / event.total : 0);
  return new Promise((resolve, reject) => {
    request.onerror = () => reject(new ApiError("The upload broke off. Check the connection and try again.", "network", 0));
    request.onload = () => {
      if (request.status < 300) resolve(JSON.parse(request.responseText) as Doc);
      else reject(errorOf(request.status, request.responseText, request.getResponseHeader("Retry-After")));
    };
    request.send(form);
  });
}
