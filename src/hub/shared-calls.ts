/** Makes one call for all who want the same while it is not answered: thousands of clients may come at once. */
export class SharedCalls<T> {
  /** By what is wanted; undefined without any, as in nearly every stream. */
  #running: Map<string, Promise<T>> | undefined

  call(key: string, call: () => Promise<T>): Promise<T> {
    const known = this.#running?.get(key)
    if (known) return known
    const promise = call()
    this.#running ??= new Map()
    this.#running.set(key, promise)
    const forget = () => this.#forget(key)
    promise.then(forget, forget)
    return promise
  }

  #forget(key: string): void {
    this.#running?.delete(key)
    if (this.#running?.size === 0) this.#running = undefined
  }
}
