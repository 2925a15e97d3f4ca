/** Opens a link as a browser does, answers its question with yes, and returns the answer to that, or what refused the link. */
export async function signIn(apiUrl: string, link: string): Promise<Response> {
  const asked = await fetch(`${apiUrl}${new URL(link).pathname}${new URL(link).search}`, {
    redirect: 'manual',
  });
  if (asked.status !== 200) return asked;
  const cookie = asked.headers.getSetCookie()[0]?.split(';')[0] ?? '';
  return sayYes(apiUrl, await asked.text(), { cookie });
}

/** Sends the form of a page that asks. */
export const sayYes = (apiUrl: string, page: string, headers: Record<string, string>): Promise<Response> =>
  fetch(`${apiUrl}/sign-in`, {
    method: 'POST',
    redirect: 'manual',
    headers,
    body: new URLSearchParams({ token: hidden(page, 'token'), proof: hidden(page, 'proof') }),
  });

const hidden = (page: string, name: string): string =>
  new RegExp(`name="${name}" value="([^"]+)"`).exec(page)?.[1] ?? '';

/** The session's cookie as the browser sends it back. */
export const cookieOf = (answer: Response): string => answer.headers.getSetCookie()[0]?.split(';')[0] ?? '';
