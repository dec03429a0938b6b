/** Placeholder of the element type; see below. */
export interface XmlElement {
  name: string;
  attributes?: Record<string, string>;
  /** Text, or children in order. */
  children: string | XmlElement[];
}
